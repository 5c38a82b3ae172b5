"""`python -m hpo_pipeline.trackers RUN_FOLDER TRACKER`: send a run to a tracker as it happens.

It ends when its standard input does, once everything is sent, or as soon as the tracker does not
take it: whatever is left stays in the queue. It says on standard output what the run should know,
a JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path

from hpo_pipeline.errors import HpoError, TrackingError
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.trackers.interface import TrackedRun
from hpo_pipeline.trackers.sender import Sender, sending

LOOK_SECONDS = 1.0
LONGEST_WAIT = 60.0
NICE = 10
"""Trials come first: this process takes what they leave."""
AUTOGROUP = Path("/proc/self/autogroup")
"""Where Linux shares the processor out by session first, `nice` counts within this one only."""


def main(path: Path, name: str) -> int:
    """Send until the end of standard input; return 1 where something is left."""
    os.nice(NICE)
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(NICE))
    folder = RunFolder(path)
    run = TrackedRun(folder.run_id(), folder.experiment(), folder.path, dict(os.environ))
    with sending(folder.tracking, name, waits=True):
        sender = Sender(run, name)
        try:
            return _follow(sender)
        finally:
            try:
                sender.close()
            except TrackingError as error:
                _say(failing=str(error))


def _follow(sender: Sender) -> int:
    wait, not_before, is_closing = LOOK_SECONDS, 0.0, False
    while True:
        if sender.has_more() and (is_closing or time.monotonic() >= not_before):
            try:
                sender.send()
                wait = LOOK_SECONDS
                _say(failing=None)
            except TrackingError as error:
                _say(failing=str(error))
                if is_closing:
                    return 1
                wait = min(LONGEST_WAIT, 2 * wait)
                not_before = time.monotonic() + wait
            while sender.refused:
                _say(refused=sender.refused.pop(0))
        if is_closing and not sender.has_more():
            return 0
        is_closing = is_closing or _has_ended(LOOK_SECONDS)


def _has_ended(seconds: float) -> bool:
    """Wait, and return whether the run has closed its end."""
    return bool(select.select([sys.stdin], [], [], seconds)[0]) and not sys.stdin.read(1)


def _say(**what: str | None) -> None:
    try:
        print(json.dumps(what), flush=True)
    except BrokenPipeError:  # the run was killed: nobody listens, and the queue is still sent
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
    except (HpoError, OSError) as error:
        _say(failing=str(error))
        sys.exit(1)
