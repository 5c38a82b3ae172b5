"""The command `hpo compare`: runs side by side, on the terminal, as JSON, and as a page."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_pipeline.errors import HpoError, MonitoringError

if TYPE_CHECKING:
    from hpo_pipeline.reports.comparison import ComparedRun


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `hpo`."""
    parser = commands.add_parser("compare", help="show runs side by side")
    parser.set_defaults(command=_compare)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, 2 to 6")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page, for a browser")
    parser.add_argument("--json", action="store_true", help="for machines")


def _compare(options: argparse.Namespace) -> int:
    from hpo_pipeline.cli.output import print_comparison
    from hpo_pipeline.monitoring.comparison_page import write_comparison
    from hpo_pipeline.reports.comparison import compare

    found = compare(_read(options.runs))
    if options.html is not None:
        try:
            write_comparison(found, options.html)
        except OSError as error:
            raise MonitoringError(
                f"--html {options.html}: cannot be written ({error.strerror})"
            ) from error
    if options.json:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
        return 0
    print_comparison(found)
    if options.html is not None:
        print(options.html)
    return 0


def _read(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read the runs, and say at once what is wrong with any of them."""
    from hpo_pipeline.reports.comparison import MOST_COMPARED

    folders = list(dict.fromkeys(path.resolve() for path in paths))
    if not 2 <= len(folders) <= MOST_COMPARED:
        raise MonitoringError(
            f"hpo compare: name 2 to {MOST_COMPARED} different runs, got {len(folders)}"
        )
    found, faults = [], []
    for name, folder in zip(_names(folders), folders, strict=True):
        try:
            found.append(_compared(name, folder))
        except HpoError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{folder}: cannot be read ({error.strerror})")
    if faults:
        raise MonitoringError("\n".join(faults))
    return found


def _compared(name: str, path: Path) -> ComparedRun:
    from hpo_pipeline.reports.comparison import ComparedRun
    from hpo_pipeline.results.run_folder import RunFolder

    folder = RunFolder(path)
    experiment, result = folder.experiment(), folder.result()
    try:
        from hpo_pipeline.reports.html.findings import importances
        from hpo_pipeline.reports.html.studies import quiet_optuna
    except ImportError:  # the extra `report` is not installed: there is no such table then
        shares = None
    else:
        with quiet_optuna():
            shares = importances(experiment, result.trials, experiment.objective[0])
    return ComparedRun(
        name,
        experiment,
        folder.state(),
        result.state,
        result.trials,
        shares if isinstance(shares, dict) else None,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that are all different."""
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = [os.sep.join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return list(map(str, folders))
