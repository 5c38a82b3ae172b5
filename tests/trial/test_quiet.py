"""The quiet slot: one is timed, the others stand still, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_pipeline.trial.measuring.quiet import QuietSlot

WORKER = """
import sys, time
from pathlib import Path
from hpo_pipeline.trial.measuring.quiet import QuietSlot
folder, log = Path(sys.argv[1]), Path(sys.argv[2])
slot = QuietSlot(folder)
if sys.argv[3] == "time":
    with slot.alone():
        log.write_text("alone")
        time.sleep(60)
slot.work()
while True:
    slot.give_way()
    log.write_text(repr(time.monotonic()))
    time.sleep(0.005)
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return a list of processes that are killed in the end."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(processes: list[subprocess.Popen[bytes]], folder: Path, does: str) -> Path:
    """Start a process that works or is timed, and wait until it does."""
    log = folder / f"{does}-{len(processes)}"
    arguments = [sys.executable, "-c", WORKER, str(folder / "quiet"), str(log), does]
    processes.append(subprocess.Popen(arguments))
    end = time.monotonic() + 20
    while not log.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert log.exists()
    return log


def test_others_stand_still_while_one_is_timed(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    log = start(started, tmp_path, "work")
    slot = QuietSlot(tmp_path / "quiet")
    slot.work()
    with slot.alone():
        time.sleep(0.05)
        before = log.read_text()
        time.sleep(0.2)
        assert log.read_text() == before
    assert slot.was_quiet
    end = time.monotonic() + 5
    while log.read_text() == before and time.monotonic() < end:
        time.sleep(0.02)
    assert log.read_text() != before
    slot.end()


def test_one_that_was_killed_while_it_was_timed_holds_nobody_up(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    start(started, tmp_path, "time")
    started[0].send_signal(signal.SIGKILL)
    started[0].wait()
    slot = QuietSlot(tmp_path / "quiet")
    slot.work()
    assert slot.waited < 1.0


def test_a_stuck_one_costs_patience_once_and_no_trial(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    start(started, tmp_path, "time")
    os.kill(started[0].pid, signal.SIGSTOP)
    slot = QuietSlot(tmp_path / "quiet", patience=0.2)
    slot.work()
    for _ in range(50):
        slot.give_way()
    assert 0.2 <= slot.waited < 0.6
    with slot.alone():
        assert slot.was_quiet is False


def test_without_a_folder_there_is_nobody_to_wait_for() -> None:
    slot = QuietSlot()
    slot.work()
    slot.give_way()
    with slot.alone():
        pass
    assert slot.was_quiet is None
