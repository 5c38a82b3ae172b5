"""The job `prepare`: prepare an experiment's data once, and say where they are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.data.dataset import DatasetMeta
from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.prepare_once import prepared_once
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import ExperimentError, HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.job_output import error_answer, write_answer


def main(argv: Sequence[str]) -> int:
    """Check an experiment, prepare its data, and say where they are or what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.trial.preparation")
    parser.add_argument("--experiment", type=Path, required=True)
    parser.add_argument("--source", required=True, help="name of the file for messages")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of all datasets")
    parser.add_argument("--shared", action="store_true", help="others may prepare them too")
    parser.add_argument("--storage", metavar="URI", help="place of datasets, for all")
    parser.add_argument("--out", type=Path, required=True, help="gets the answer, JSON")
    options = parser.parse_args(argv)
    try:
        experiment = load(options.experiment)
        faults = argument_faults(dict(experiment))
        if faults:
            raise ExperimentError(options.source, faults)
        options.datasets.mkdir(parents=True, exist_ok=True)
        folder = _prepared(experiment, options)
        meta = DatasetMeta.read(folder)
    except HpoError as error:
        write_answer(options.out, error_answer(error))
        return error.exit_code
    except OSError as error:
        write_answer(options.out, {"error": str(error), "exit_code": 1})
        return 1
    facts = {name: getattr(meta, name) for name in ("fingerprint", "source", "rows", "labels")}
    write_answer(options.out, {"dataset": str(folder), **facts}, spare=("labels",))
    return 0


def _prepared(experiment: Experiment, options: argparse.Namespace) -> Path:
    if options.storage is not None:
        return UriStorage(options.storage).dataset(experiment, options.datasets, prepared_once)
    return (prepared_once if options.shared else prepare)(experiment, options.datasets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
