"""The job `evaluate`: measure a model on the held-out test rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.results.job_output import error_answer, write_answer
from hpo_pipeline.trial.evaluate import evaluate


def main(argv: Sequence[str]) -> int:
    """Evaluate a model folder and write what was measured to a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.trial.evaluate")
    parser.add_argument("--experiment", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        experiment = load(options.experiment)
        found = evaluate(experiment, options.dataset, options.model, options.max_length)
    except HpoError as error:
        write_answer(options.out, error_answer(error))
        return error.exit_code
    write_answer(options.out, found.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
