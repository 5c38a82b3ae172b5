"""`python -m hpo_pipeline.jobs.promote gate|register`: the end of a run in a pod of its own.

The pod has the storage of the trials, mounted or by its URI, so that no model leaves it. The
answer is the termination message.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import BackendError, HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.commands import evaluation_argv
from hpo_pipeline.jobs.promotion import Measure, Promotion
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER
from hpo_pipeline.results.job_output import error_answer, read_answer, write_answer
from hpo_pipeline.results.outcome import Evaluation, SearchFacts, Selected
from hpo_pipeline.results.run_folder import CONCLUSION_FILE, RunFolder, run_place

GATE, REGISTER = "gate", "register"


def main(argv: Sequence[str]) -> int:
    """Do one part of the conclusion and write its answer."""
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.jobs.promote")
    parser.add_argument("stage", choices=(GATE, REGISTER))
    parser.add_argument("--experiment", type=Path, required=True, help="experiment file")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of all datasets")
    parser.add_argument("--registry", required=True, help="URI, or a folder")
    parser.add_argument("--chosen", required=True, help="the winner, JSON")
    parser.add_argument("--told", required=True, help="what is known of the search, JSON")
    parser.add_argument("--storage", metavar="URI", help="where run and datasets are")
    parser.add_argument("--out", type=Path, required=True, help="gets the answer, JSON")
    options = parser.parse_args(argv)
    try:
        answer = _conclude(load(options.experiment), options)
    except HpoError as error:
        print(error, file=sys.stderr)
        write_answer(options.out, error_answer(error))
        return error.exit_code
    write_answer(options.out, answer, spare=("confusion",))
    return 0


def _conclude(experiment: Experiment, options: argparse.Namespace) -> dict[str, object]:
    folder = RunFolder(options.run)
    chosen = Selected(**json.loads(options.chosen))
    told = SearchFacts.from_json(json.loads(options.told))
    dataset = _fetched(experiment, folder, chosen, options)
    has_register = experiment.register_ is not None
    conclusion = Promotion(
        experiment,
        folder,
        dataset,
        measure=_measure(options.experiment, dataset),
        registry=open_registry(options.registry) if has_register else None,
    )
    if options.stage == GATE:
        answer = conclusion.gate(chosen, told).to_json()
        _tidy(folder, told.keep, options.storage)
    else:
        answer = asdict(conclusion.register(chosen, told))
    if options.storage is not None:
        storage = UriStorage(options.storage)
        storage.put(folder.model)
        storage.put_file(folder.path / CONCLUSION_FILE)
    return answer


def _tidy(folder: RunFolder, keep: Collection[str], storage: str | None) -> None:
    """Remove the models of trials that have lost; without it, each run would fill the storage."""
    places = (folder.trials, folder.confirmation.trials)
    if storage is not None:
        for place in places:
            UriStorage(storage).forget(place, keep, (MODEL_FOLDER, CHECKPOINT_FOLDER))
        return
    for run in (run for place in places if place.is_dir() for run in place.iterdir()):
        for name in (MODEL_FOLDER, CHECKPOINT_FOLDER) if run.name not in keep else ():
            shutil.rmtree(run / name, ignore_errors=True)


def _fetched(
    experiment: Experiment, folder: RunFolder, chosen: Selected, options: argparse.Namespace
) -> Path:
    """Return the dataset, with the winner's run in its folder."""
    from hpo_pipeline.data.prepare_once import prepared_once

    if options.storage is None:
        return prepared_once(experiment, options.datasets)
    storage = UriStorage(options.storage)
    storage.fetch(run_place(folder, chosen))
    if storage.fetch_file(folder.path / CONCLUSION_FILE):
        storage.fetch(folder.model)
    return storage.dataset(experiment, options.datasets, prepared_once)


def _measure(experiment: Path, dataset: Path) -> Measure:
    """Return what measures a model in a process of its own, which gives its memory back."""

    def measure(model: Path, max_length: int) -> Evaluation:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "evaluation.json"
            argv = evaluation_argv(experiment, dataset, model, max_length, out)
            command = [sys.executable, "-m", "hpo_pipeline.jobs.evaluate", *argv]
            code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
            if not out.exists():
                raise BackendError(f"{model}: the evaluation ended with exit code {code}")
            return Evaluation.from_json(read_answer(out))

    return measure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
