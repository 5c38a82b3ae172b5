"""The live page with 200 runs, one of them with 10 000 trials: server time, memory.

    python benchmarks/live_page.py FOLDER      makes the runs there, if it is empty

Times are the server's own (Server-Timing) and its CPU time, over HTTP, while trials arrive.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_curve, toy_experiment, toy_trial

UPDATES = 10


def write_trial(folder: RunFolder, number: int) -> None:
    """Write a trial as a run does, but without waiting for the disk."""
    place = folder.trial(f"toy-{number}")
    place.mkdir(parents=True, exist_ok=True)
    value = 0.9 - 0.4 / (1 + number % 977)
    state = TrialState.FAILED if number % 50 == 7 else TrialState.SUCCEEDED
    trial = toy_trial(number, state=state, accuracy=value, curve=toy_curve(0.5, value))
    (place / "result.json").write_text(json.dumps(trial.to_json()))


def make_runs(root: Path) -> None:
    """Make 199 runs of 10 trials and one of 10 000."""
    for index in range(200):
        folder = RunFolder(root / f"run-{index:03d}")
        with folder.locked():
            folder.adopt(toy_experiment())
            for number in range(10_000 if index == 0 else 10):
                write_trial(folder, number)
            folder.update(state="succeeded", seconds=60.0)


def main() -> None:
    """Measure and print."""
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    if not any(root.iterdir()):
        make_runs(root)
    command = [sys.executable, "-m", "hpo_pipeline", "ui", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline() if server.stdout else ""
        address = line.removeprefix("open ").strip()
        for path in ("api/runs", "api/runs/run-000"):
            for index in range(UPDATES):
                if index:
                    write_trial(RunFolder(root / "run-000"), 10_000 + index)
                cpu, begun = cpu_seconds(server.pid), time.monotonic()
                with urllib.request.urlopen(address + path, timeout=300) as answer:
                    size = len(answer.read())
                    own = answer.headers.get("Server-Timing", "")
                wall = time.monotonic() - begun
                used = (cpu_seconds(server.pid) - cpu) * 1000
                print(
                    f"{path} {index}: {wall * 1000:.0f} ms wall, {used:.0f} ms CPU, {size} B, {own}"
                )
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        print(f"peak memory {int(peak[1]) / 1024 if peak else 0:.0f} MiB")
        print(f"load {os.getloadavg()[0]:.1f}")
        server.terminate()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
