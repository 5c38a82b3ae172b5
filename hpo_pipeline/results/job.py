"""Work beside the search: what an engine is given to run, and what comes back.

A job is one command, `python -m hpo_pipeline.jobs KIND …`, that leaves one JSON object. The maker
of a job says what is to be done; the engine that runs it adds where things are (`JobPlaces`).
In a pod the answer is the termination message, which stays in the pod's status after its file
system is gone and may have 4096 bytes. Writer and reader of commands and answers are here.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import BackendError, DataError, HpoError, ModelMissing
from hpo_pipeline.results.files import write_json

TERMINATION_MESSAGE = Path("/dev/termination-log")
MAX_BYTES = 4096
ERROR, EXIT_CODE = "error", "exit_code"
_MODEL_MISSING_EXIT = ModelMissing.exit_code


@dataclass(frozen=True)
class Job:
    """One piece of work beside the search.

    Attributes:
        kind: a row of `hpo_pipeline.jobs.JOBS`.
        name: unique in the run, a plain file name; the same work always has the same name, so
            that an engine that is restarted finds what it has started.
        arguments: after the kind, without the places.
    """

    kind: str
    name: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobOutput:
    """How a job ended: with an answer, or with the reason why there is none.

    `image` is the image it ran in, with its digest, where the engine knows it.
    """

    name: str
    answer: Mapping[str, Any] | None = None
    reason: str = ""
    image: str = ""

    def result(self) -> dict[str, Any]:
        """Return the answer, unless it reports an error.

        Raises:
            HpoError: the error that the job reported; BackendError where it left no answer.
        """
        if self.answer is None:
            raise BackendError(f"job {self.name} failed: {self.reason}")
        return checked(self.answer)


@dataclass(frozen=True)
class JobPlaces:
    """Where a job finds what it works on: paths as the job's own process sees them.

    Attributes:
        experiment: the experiment file.
        run: the run folder.
        out: the file for the answer.
        dataset: the prepared dataset; None where it is prepared once below `datasets`.
        datasets: the folder of all datasets.
        storage: the URI that the folders are copied from and to; None where they are mounted.
        registry: URI or folder of the registry; None for the default of this machine.
        source: the experiment file's name for messages.
        data: the fingerprint of the data that the run's trials were trained on, if it is known.
    """

    experiment: Path
    run: Path
    out: Path
    dataset: Path | None = None
    datasets: Path | None = None
    storage: str | None = None
    registry: str | None = None
    source: str | None = None
    data: str | None = None

    def argv(self) -> list[str]:
        """Return the options that `parse_places` reads."""
        options = {f"--{name}": value for name, value in vars(self).items()}
        return [part for n, v in options.items() if v is not None for part in (n, str(v))]


def places_parser() -> argparse.ArgumentParser:
    """Return a parser of the places, as a parent of the parser of each kind of job."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--experiment", type=Path, required=True, help="experiment file")
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--out", type=Path, required=True, help="file for the answer, JSON")
    parser.add_argument("--dataset", type=Path, help="prepared dataset")
    parser.add_argument("--datasets", type=Path, help="folder of all datasets")
    parser.add_argument("--storage", metavar="URI", help="where run and datasets are kept")
    parser.add_argument("--registry", metavar="URI", help="registry: a URI or a folder")
    parser.add_argument("--source", help="name of the experiment file for messages")
    parser.add_argument("--data", metavar="FINGERPRINT", help="of the data of the run's trials")
    return parser


def places_of(options: argparse.Namespace) -> JobPlaces:
    """Return the places among parsed options."""
    return JobPlaces(**{name: getattr(options, name) for name in JobPlaces.__dataclass_fields__})


def write_answer(path: Path, content: Mapping[str, Any], *, spare: Sequence[str] = ()) -> None:
    """Write an answer; a termination message gets what fits.

    Args:
        spare: the entries to leave out where it is too long, the first one first; `a.b` is the
            entry b of the mapping a.

    Raises:
        BackendError: it does not fit even so.
        OSError: the file cannot be written.
    """
    if not _is_device(path):
        write_json(path, content)
        return
    kept = dict(content)
    for name in ("", *spare):
        outer, dot, inner = name.partition(".")
        if dot:
            kept[outer] = {k: v for k, v in kept.get(outer, {}).items() if k != inner}
        else:
            kept.pop(outer, None)
        text = json.dumps(kept, separators=(",", ":"), allow_nan=False)
        if len(text.encode()) <= MAX_BYTES:
            path.write_text(text, "utf-8")  # it cannot be replaced, only written
            return
    raise BackendError(f"an answer may have {MAX_BYTES} bytes, got {len(text.encode())}")


def error_answer(error: HpoError) -> dict[str, Any]:
    """Return the answer of a job that could not do its work."""
    return {ERROR: str(error)[: MAX_BYTES // 2], EXIT_CODE: error.exit_code}


def checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer, unless it reports an error.

    Raises:
        HpoError: the error that the job reported: DataError where the input is wrong,
            ModelMissing where a model is not kept any more, else BackendError.
    """
    if ERROR not in content:
        return dict(content)
    code = int(content.get(EXIT_CODE, 1))
    kinds: dict[int, type[HpoError]] = {2: DataError, _MODEL_MISSING_EXIT: ModelMissing}
    error = kinds.get(code, BackendError)(str(content[ERROR]))
    error.exit_code = code
    raise error


def parse_answer(text: str) -> dict[str, Any] | None:
    """Return the answer in a text, or None where the text is not one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_device(path: Path) -> bool:
    """Return whether a file takes one message: the kubelet made it, in a folder of its own."""
    return path == TERMINATION_MESSAGE or os.path.ismount(path)
