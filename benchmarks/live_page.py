"""The live page with 200 runs, one of them with 10 000 trials: server time, memory, paint.

    python benchmarks/live_page.py FOLDER      makes the runs there, if it is empty

The large run is running: trials arrive between the updates. Times of an update are the server's own
(Server-Timing) and its CPU time, over HTTP. Pages are opened in headless Chromium where Debian's
chromium and chromium-driver are there, each by a server that has read nothing yet.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import TrialState
from tests.monitoring.chromium import IS_THERE, Browser, browser
from tests.toys import toy_curve, toy_experiment, toy_trial

UPDATES = 10
LARGE = "run-000"
PAINTED = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
FILLED = """
const tell = arguments[arguments.length - 1];
const look = () => document.querySelectorAll('tbody tr').length >= 100
  ? requestAnimationFrame(() => setTimeout(() => tell(performance.now())))
  : setTimeout(look, 20);
look();
"""


def write_trial(folder: RunFolder, number: int) -> None:
    """Write a trial as a run does, but without waiting for the disk."""
    place = folder.trial(f"toy-{number}")
    place.mkdir(parents=True, exist_ok=True)
    value = 0.9 - 0.4 / (1 + number % 977)
    state = TrialState.FAILED if number % 50 == 7 else TrialState.SUCCEEDED
    trial = toy_trial(number, state=state, accuracy=value, curve=toy_curve(0.5, value))
    (place / "result.json").write_text(json.dumps(trial.to_json()))


def make_runs(root: Path) -> None:
    """Make 199 runs of 10 trials that are over, and one of 10 000."""
    for index in range(200):
        folder = RunFolder(root / f"run-{index:03d}")
        with folder.locked():
            folder.adopt(toy_experiment())
            for number in range(10_000 if index == 0 else 10):
                write_trial(folder, number)
            folder.update(state="running" if index == 0 else "succeeded", seconds=60.0)


@contextmanager
def page(root: Path) -> Iterator[tuple[str, int]]:
    """Serve the page; yields its address and the server's process."""
    command = [sys.executable, "-m", "hpo_pipeline", "ui", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline() if server.stdout else ""
        try:
            yield line.removeprefix("open ").strip(), server.pid
        finally:
            server.terminate()


def updates(root: Path, path: str) -> None:
    """Print what each update costs while a trial arrives between them."""
    with page(root) as (address, server):
        for index in range(UPDATES):
            if index:
                write_trial(RunFolder(root / LARGE), 10_000 + index)
            cpu, begun = cpu_seconds(server), time.monotonic()
            with urllib.request.urlopen(address + path, timeout=300) as answer:
                size = len(answer.read())
                own = answer.headers.get("Server-Timing", "")
            wall = (time.monotonic() - begun) * 1000
            used = (cpu_seconds(server) - cpu) * 1000
            print(f"{path} {index}: {wall:.0f} ms wall, {used:.0f} ms CPU, {size} B, {own}")
            time.sleep(1)  # as the page does, and a server that still reads goes on with it
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server}/status").read_text())
        print(f"peak memory {int(peak[1]) / 1024 if peak else 0:.0f} MiB")


def paint(root: Path, window: Browser, path: str) -> None:
    """Print when a page is painted, and when its table is, from the start of its loading."""
    window.open("about:blank")
    window.errors()
    with page(root) as (address, _):
        window.open(address + path)
        filled = window.call("execute/async", script=FILLED, args=[])
        first, errors = window.run(PAINTED), window.errors()
    print(f"{path or '(list)'}: first paint {first:.0f} ms, table {filled:.0f} ms, {errors}")


def main() -> None:
    """Measure and print."""
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    if not any(root.iterdir()):
        make_runs(root)
    with RunFolder(root / LARGE).locked():
        for path in ("api/runs", f"api/runs/{LARGE}"):
            updates(root, path)
        if IS_THERE:
            with tempfile.TemporaryDirectory() as name, browser(Path(name)) as window:
                for path in ("", f"#/run/{LARGE}"):
                    paint(root, window, path)
    print(f"load {os.getloadavg()[0]:.1f}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
