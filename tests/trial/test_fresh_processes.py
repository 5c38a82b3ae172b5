"""Fresh processes: they answer, fail in words, and hold nothing of the one that asked."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo_pipeline.trial.measuring.fresh_processes import ProcessLost, Spare


def boom() -> None:
    """Raise."""
    raise ValueError("no such model")


def die() -> None:
    """Die as by the kernel's hand."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_call_is_answered_by_a_process_of_its_own() -> None:
    with Spare() as spare:
        found = {spare.call(os.getpid) for _ in range(3)}
        assert len(found | {os.getpid()}) == 4
        with pytest.raises(ProcessLost, match="ValueError: no such model"):
            spare.call(boom)
        with pytest.raises(ProcessLost, match="exit code -9"):
            spare.call(die)
        assert spare.call(sum, [1, 2]) == 3
    with pytest.raises(ProcessLost):
        spare.call(os.getpid)


def test_a_live_channel_of_grpc_does_not_hang_it() -> None:
    script = """
from concurrent import futures
from hpo_pipeline.trial.measuring.fresh_processes import Spare
import grpc
server = grpc.server(futures.ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
grpc.channel_ready_future(channel).result(20)
with Spare() as spare:
    print(spare.call(sum, [1, 2]))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "3\n", done.stderr


def test_tensors_are_handed_over_and_leave_nothing_behind(tmp_path: Path) -> None:
    script = """
import os, torch
from hpo_pipeline.trial.measuring.fresh_processes import Spare
spare = Spare()
print(spare.call(sum, [torch.ones(2), torch.ones(2)]).tolist(), flush=True)
spare.end()
os._exit(0)  # as jobs end that were forked
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    printed = subprocess.check_output(
        [sys.executable, "-c", script], env=environment, text=True, timeout=60
    )
    assert printed == "[2.0, 2.0]\n"
    assert list(tmp_path.iterdir()) == []


def test_it_keeps_no_lock_of_its_parent_and_no_signal_of_its_group_ends_it(tmp_path: Path) -> None:
    file = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    with Spare() as spare:
        os.kill(spare.call(os.getppid), signal.SIGTERM)
        assert spare.call(sum, [1, 2]) == 3
        os.close(file)
        again = os.open(tmp_path / "lock", os.O_RDWR)
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(again)
        process = spare.call(os.getppid)
    end = time.monotonic() + 10
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{process}").exists()
