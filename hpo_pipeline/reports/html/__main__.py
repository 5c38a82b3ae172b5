"""`python -m hpo_pipeline.reports.html RUN_FOLDER [--out FILE]`: write the page of a run.

A process of its own, so that neither plotly nor a plot that fails reaches the search.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.html.page import write_report
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.run_folder import RunFolder


def load_run(path: Path) -> tuple[Experiment, SearchResult, dict[str, str]]:
    """Return what a run folder holds."""
    folder = RunFolder(path)
    return folder.experiment(), folder.result(), folder.info()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and print where it is; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hpo_pipeline.reports.html", description=__doc__
    )
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--out", type=Path, help="default: report.html in the run folder")
    options = parser.parse_args(arguments)
    try:
        experiment, result, info = load_run(options.run_folder)
        out = options.out or options.run_folder / "report.html"
        print(write_report(experiment, result, out, run_info=info))
    except (HpoError, OSError) as error:
        print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, HpoError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
