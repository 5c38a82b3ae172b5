"""The job `remove`: delete the folder of a run from the storage, with all its models.

Datasets and registered models are kept: other runs use them.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.errors import DataError, HpoError
from hpo_pipeline.results.job import error_answer, write_answer

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


def main(argv: Sequence[str]) -> int:
    """Delete the folder, and answer whether there was one."""
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.jobs remove", allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="run folder: …/runs/NAME")
    parser.add_argument("--out", type=Path, required=True, help="file for the answer, JSON")
    parser.add_argument("--storage", metavar="URI", help="where runs are kept, if not mounted")
    options = parser.parse_args(argv)
    try:
        was_there = remove(options.run, options.storage)
    except HpoError as error:
        write_answer(options.out, error_answer(error))
        return error.exit_code
    write_answer(options.out, {"removed": was_there})
    return 0


def remove(run: Path, storage: str | None) -> bool:
    """Delete a run folder and return whether it was there.

    Raises:
        DataError: it is not a run folder, or cannot be deleted.
    """
    if run.parent.name != "runs" or not NAME.fullmatch(run.name):
        raise DataError(f"{run}: not the folder of a run, which is …/runs/NAME")
    if storage is not None:
        from hpo_pipeline.data.storage import UriStorage

        return UriStorage(storage).remove(run)
    if run.is_symlink() or not run.is_dir():
        return False
    try:
        shutil.rmtree(run)
    except OSError as error:
        raise DataError(f"{run}: cannot be deleted ({error})") from error
    return True
