"""Try many mutated inputs in process and report tracebacks, hangs and odd exit codes.

An input is right if it is read without a fault, or refused with exit code 2. Each follows from
the seed, its target and its number, so that one can be tried again by itself:

    python -m tests.fuzz --inputs 20000
    python -m tests.fuzz --only experiments --first 1234 --inputs 1
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hpo_pipeline.errors import HpoError
from tests.fuzz.targets import TARGETS

SECONDS = 5.0
"""An input that keeps the processor busy for longer hangs."""
WALL_SECONDS = 60.0


class Hang(BaseException):
    """An input took too long."""


@dataclass(frozen=True)
class Finding:
    """An input that went wrong: which, how, and where in the program."""

    target: str
    number: int
    what: str
    where: str


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang after so much processor time, or much more time on the clock."""

    def stop(*_: Any) -> None:
        raise Hang

    before = [signal.signal(s, stop) for s in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGALRM, before[1])


def attempt(target: str, number: int, seed: int, folder: Path) -> Finding | str | None:
    """Try one input; return what went wrong, else `accepted` or `refused`."""
    rng = Random(f"{seed}:{target}:{number}")
    run = TARGETS[target].make(rng, folder)
    said = io.StringIO()
    try:
        with (
            limited(SECONDS),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = run() or 0
    except HpoError as error:
        code = error.exit_code
        said.write(str(error))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except Hang:
        return Finding(
            target, number, f"hang of more than {SECONDS:g} s", _place(sys.exc_info()[2])
        )
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        line = (str(error).splitlines() or [""])[0][:120]
        return Finding(
            target, number, f"{type(error).__name__}: {line}", _place(error.__traceback__)
        )
    if code not in (0, 2):
        return Finding(target, number, f"exit code {code}: {said.getvalue().strip()[-99:]}", "")
    return "accepted" if code == 0 else "refused"


def _place(trace: Any) -> str:
    frames = [f for f in traceback.extract_tb(trace) if "hpo_pipeline/" in f.filename]
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename[last.filename.rindex('hpo_pipeline/') :]}:{last.lineno} {last.name}"


def fuzz(target: str, numbers: range, seed: int) -> tuple[list[Finding], Counter[str]]:
    """Try a range of inputs of one target."""
    found: list[Finding] = []
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        for number in numbers:
            folder = Path(place) / "input"
            folder.mkdir()
            outcome = attempt(target, number, seed, folder)
            if isinstance(outcome, Finding):
                found.append(outcome)
                outcomes["wrong"] += 1
            else:
                outcomes[str(outcome)] += 1
            shutil.rmtree(folder, ignore_errors=True)
    return found, outcomes


def _job(arguments: tuple[str, range, int]) -> tuple[str, list[Finding], Counter[str]]:
    target, numbers, seed = arguments
    logging.disable(logging.CRITICAL)
    return (target, *fuzz(target, numbers, seed))


def jobs(inputs: int, seed: int, first: int, only: str | None) -> list[tuple[str, range, int]]:
    """Share inputs out among the targets, in pieces."""
    chosen = [only] if only else list(TARGETS)
    whole = sum(TARGETS[name].share for name in chosen)
    listed = []
    for name in chosen:
        count = max(1, round(inputs * TARGETS[name].share / whole))
        piece = max(1, min(500, count))
        for start in range(first, first + count, piece):
            listed.append((name, range(start, min(start + piece, first + count)), seed))
    return listed


def main() -> int:
    """Fuzz, print a table of outcomes and each kind of finding once."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", choices=list(TARGETS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # no input may reach a network
    begin = time.monotonic()
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in TARGETS}
    findings: list[Finding] = []
    listed = jobs(options.inputs, options.seed, options.first, options.only)
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for target, found, counted in pool.imap_unordered(_job, listed):
            findings += found
            outcomes[target] += counted
    for name, counted in outcomes.items():
        shown = ", ".join(f"{counted[k]} {k}" for k in ("accepted", "refused", "wrong"))
        print(f"{name:12} {counted.total():6} inputs: {shown}")
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: (f.target, f.number)):
        kind = (finding.target, finding.what.partition(":")[0], finding.where)
        kinds.setdefault(kind, []).append(finding)
    for same in kinds.values():
        one = same[0]
        print(f"{len(same)} times: {one.target} {one.number}: {one.what}\n    at {one.where}")
    total = sum(c.total() for c in outcomes.values())
    print(f"{total} inputs, {len(kinds)} kinds of findings, {time.monotonic() - begin:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
