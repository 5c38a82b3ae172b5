"""The command `hpo track`: sends to trackers what they have not got yet of a run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_pipeline.errors import MonitoringError, TrackingError
from hpo_pipeline.trackers import TRACKERS

if TYPE_CHECKING:
    from hpo_pipeline.trackers.interface import TrackedRun


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `hpo`."""
    parser = commands.add_parser("track", help="send trackers what they lack of a run")
    parser.set_defaults(command=_track)
    parser.add_argument("run", type=Path, nargs="?", help="run folder (the latest below runs/)")
    parser.add_argument(
        "--to",
        action="append",
        choices=tuple(TRACKERS),
        help="a tracker, which may be given several times (those of the experiment)",
    )


def _track(options: argparse.Namespace) -> int:
    from hpo_pipeline.flow.tracking import note_all
    from hpo_pipeline.reports.terminal.silence import Silence
    from hpo_pipeline.results.run_folder import RunFolder, latest
    from hpo_pipeline.trackers import faults
    from hpo_pipeline.trackers.interface import TrackedRun
    from hpo_pipeline.trackers.queue import Queue
    from hpo_pipeline.trackers.tracked_progress import TrackedProgress

    folder = RunFolder(options.run or latest(Path("runs")))
    experiment = folder.experiment()
    names = tuple(dict.fromkeys(options.to or experiment.track))
    if not names:
        raise MonitoringError(
            f"{folder.path}: its experiment has no `track`; name a tracker, such as --to mlflow"
        )
    if wrong := faults(names, os.environ):
        raise MonitoringError("\n".join(wrong))
    with folder.locked():
        note_all(TrackedProgress(Silence(), Queue(folder.tracking)), folder)
        run = TrackedRun(folder.run_id(), experiment, folder.path, dict(os.environ))
        return max([_send(run, name) for name in names])


def _send(run: TrackedRun, name: str) -> int:
    from hpo_pipeline.results.run_folder import RunFolder
    from hpo_pipeline.trackers.sender import Sender, left, sending, waiting

    tracking = RunFolder(run.folder).tracking
    with sending(tracking, name, waits=False):
        sender = Sender(run, name)
        try:
            sender.send()
            print(f"{name}: everything is sent")
            code = 0
        except TrackingError as error:
            waits = waiting(left(tracking, name))
            print(f"{name}: {error}; {waits} to be sent: give this command again")
            code = 1
        finally:
            sender.close()
    for text in sender.refused:
        print(f"{name}: {text}")
    return code
