"""`python -m hpo_pipeline.jobs KIND …`: run one job and leave its answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from hpo_pipeline.jobs import JOBS
from hpo_pipeline.trial.reporting.process_log import configure
from hpo_pipeline.trial.reporting.tracing import process_span


def main(argv: Sequence[str]) -> int:
    """Run the job that the arguments name; return its exit code."""
    configure("%(asctime)s %(levelname)s %(message)s", job=(argv or [""])[0])
    kind, *arguments = argv or [""]
    if kind not in JOBS:
        print(f"no job {kind!r}; there are {', '.join(JOBS)}", file=sys.stderr)
        return 2
    with process_span(kind):
        code: int = import_module(JOBS[kind]).main(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
