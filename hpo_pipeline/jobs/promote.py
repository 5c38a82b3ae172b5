"""The job `promote`: what happens to the winner of a run, beside its models.

`gate` keeps the winner's model, measures it and the champion on the test rows, and decides;
`register` does the same and registers. Both can be repeated. On a cluster the pod has the storage
of the trials, mounted or by its URI, so that no model leaves it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import BackendError, HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.commands import GATE, REGISTER
from hpo_pipeline.jobs.promotion import Measure, Promotion
from hpo_pipeline.registry import Registry, open_registry
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER, RESUME_FOLDER, read_json
from hpo_pipeline.results.job import (
    JobPlaces,
    checked,
    error_answer,
    places_of,
    places_parser,
    write_answer,
)
from hpo_pipeline.results.outcome import Evaluation, SearchFacts, Selected, answer_as
from hpo_pipeline.results.run_folder import RunFolder, run_place


def main(argv: Sequence[str]) -> int:
    """Run one stage and write its answer."""
    parser = argparse.ArgumentParser(
        prog="python -m hpo_pipeline.jobs promote", parents=[places_parser()], allow_abbrev=False
    )
    parser.add_argument("stage", choices=(GATE, REGISTER))
    parser.add_argument("--known", required=True, help="the winner and the search, JSON")
    options = parser.parse_args(argv)
    places = places_of(options)
    try:
        known = json.loads(options.known)
        selected = answer_as(Selected, known["selected"], "promote")
        facts = answer_as(SearchFacts, known["facts"], "promote")
        answer = _promote(options.stage, load(places.experiment), places, selected, facts)
    except HpoError as error:
        print(error, file=sys.stderr)
        write_answer(places.out, error_answer(error))
        return error.exit_code
    write_answer(places.out, answer, spare=("evaluation.confusion",))
    return 0


def _promote(
    stage: str, experiment: Experiment, places: JobPlaces, selected: Selected, facts: SearchFacts
) -> dict[str, object]:
    folder = RunFolder(places.run)
    dataset = _fetched(experiment, folder, selected, places, facts.baseline)
    DatasetMeta.read(dataset).require(places.data)
    registry, measure = _registry(experiment, places), _measure(experiment, dataset)
    promotion = Promotion(experiment, folder, dataset, measure=measure, registry=registry)
    answer: dict[str, object]
    if stage == GATE:
        answer = promotion.gate(selected, facts).to_json()
        _tidy(folder, facts.keep, places.storage)
    else:
        answer = asdict(promotion.register(selected, facts))
    if places.storage is not None:
        storage = UriStorage(places.storage)
        storage.put(folder.model)
        storage.put_file(folder.conclusion)
        for name in folder.evaluations():
            if (file := folder.test_rows(name)).is_file():
                storage.put_file(file)
    return answer


def _registry(experiment: Experiment, places: JobPlaces) -> Registry | None:
    section = experiment.register_
    if section is None:
        return None
    # An engine may pass on the URI of the file: then the user did not name it (see open_registry).
    named = None if places.registry == section.registry else places.registry
    return open_registry(named, of_file=section.registry)


_HEAVY = (MODEL_FOLDER, CHECKPOINT_FOLDER, RESUME_FOLDER)


def _tidy(folder: RunFolder, keep: Collection[str], storage: str | None) -> None:
    """Remove the models of losing trials; without it, each run would fill the storage."""
    places = (folder.trials, folder.confirmation.trials)
    if storage is not None:
        for place in places:
            UriStorage(storage).forget(place, keep, _HEAVY)
        return
    for run in (run for place in places if place.is_dir() for run in place.iterdir()):
        for name in _HEAVY if run.name not in keep else ():
            shutil.rmtree(run / name, ignore_errors=True)


def _fetched(
    experiment: Experiment,
    folder: RunFolder,
    selected: Selected,
    places: JobPlaces,
    baseline: str | None,
) -> Path:
    """Return the dataset, with the runs of the winner and the baseline in the folder."""
    from hpo_pipeline.data.prepare_once import prepared_once

    if places.storage is not None:
        storage = UriStorage(places.storage)
        storage.fetch(run_place(folder, selected))
        if baseline is not None and baseline != selected.run:
            storage.fetch(folder.trial(baseline))
        if storage.fetch_file(folder.conclusion):
            storage.fetch(folder.model)
            for name in folder.evaluations():
                storage.fetch_file(folder.test_rows(name))
        assert places.datasets is not None
        return storage.dataset(experiment, places.datasets, prepared_once)
    if places.dataset is not None:
        return places.dataset
    assert places.datasets is not None
    return prepared_once(experiment, places.datasets)


def _measure(experiment: Experiment, dataset: Path) -> Measure:
    """Return what measures a model in a child process, whose peak memory is the model's own."""
    from hpo_pipeline.trial.answering.evaluate import evaluate  # loaded once, before the first fork

    def measure(model: Path, max_length: int, rows_file: Path, *, is_winner: bool) -> Evaluation:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "evaluation.json"
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    found = evaluate(
                        experiment,
                        dataset,
                        model,
                        max_length,
                        rows_file=rows_file,
                        is_final=is_winner,
                    )
                    write_answer(out, found.to_json())
                    code = 0
                except HpoError as error:
                    write_answer(out, error_answer(error))
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)  # a child must not unwind into the job
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if not out.exists():
                raise BackendError(f"{model}: the evaluation ended with exit code {code}")
            return answer_as(Evaluation, checked(read_json(out)), "evaluate")

    return measure
