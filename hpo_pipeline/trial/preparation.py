"""`check` and `prepare` as one job: what must be right before any trial starts.

It runs in a process of its own, so that the process that follows a search needs neither torch
nor datasets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.errors import ExperimentError, HpoError
from hpo_pipeline.experiment_file import load
from hpo_pipeline.prepare import prepare
from hpo_pipeline.results import write_json
from hpo_pipeline.tasks.checking import argument_faults


def main(argv: Sequence[str]) -> int:
    """Check an experiment, prepare its data, and write where they are or what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.trial.preparation")
    parser.add_argument("--experiment", type=Path, required=True)
    parser.add_argument("--source", required=True, help="name of the file for messages")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of all datasets")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(argv)
    try:
        experiment = load(options.experiment)
        faults = argument_faults(dict(experiment))
        if faults:
            raise ExperimentError(options.source, faults)
        options.datasets.mkdir(parents=True, exist_ok=True)
        folder = prepare(experiment, options.datasets)
    except HpoError as error:
        write_json(options.out, {"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    except OSError as error:
        write_json(options.out, {"error": str(error), "exit_code": 1})
        return 1
    write_json(options.out, {"dataset": str(folder)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
