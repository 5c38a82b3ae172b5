"""The job `prepare`: prepare an experiment's data once, and say where they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.prepare_once import prepared_once
from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.data.progress import ProgressLine
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import ExperimentError, HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.job import (
    JobPlaces,
    error_answer,
    places_of,
    places_parser,
    write_answer,
)


def main(argv: Sequence[str]) -> int:
    """Check an experiment, prepare its data, and say where they are or what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m hpo_pipeline.jobs prepare", parents=[places_parser()], allow_abbrev=False
    )
    parser.add_argument("--shared", action="store_true", help="others may prepare them too")
    options = parser.parse_args(argv)
    places = places_of(options)
    try:
        experiment = load(places.experiment)
        faults = argument_faults(dict(experiment))
        if faults:
            raise ExperimentError(places.source or experiment.name, faults)
        folder = _prepared(experiment, places, is_shared=options.shared)
        meta = DatasetMeta.read(folder)
    except HpoError as error:
        write_answer(places.out, error_answer(error))
        return error.exit_code
    except OSError as error:
        write_answer(places.out, {"error": str(error), "exit_code": 1})
        return 1
    names = ("fingerprint", "source", "rows", "labels", "notes")
    facts = {name: getattr(meta, name) for name in names}
    write_answer(places.out, {"dataset": str(folder), **facts}, spare=("labels", "notes"))
    return 0


def _prepared(experiment: Experiment, places: JobPlaces, *, is_shared: bool) -> Path:
    assert places.datasets is not None
    places.datasets.mkdir(parents=True, exist_ok=True)
    progress = ProgressLine()
    once = partial(prepared_once, progress=progress)
    if places.storage is not None:
        return UriStorage(places.storage).dataset(experiment, places.datasets, once)
    if is_shared:
        return once(experiment, places.datasets)
    return prepare(experiment, places.datasets, progress)
