"""What ten thousand trials cost beside their training: the engine, `hpo status`, report, tables.

The search loop of the local engine runs stand-in trials that evaluate once and end at once, with
everything that it does for real ones: journal, results, timeline, run.json, ranking, plain lines.

    python benchmarks/scale.py [--trials 10000] [--algorithm random] [--profile]

The report is opened in headless Chromium where there is one (Debian's package chromium).
The engine's figure is wall time a trial, in which the processor time is said too. Target: 9 ms,
400 MiB; the report opens in 5 s.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.loop.runner import Ended, Evaluated, Event, TrialStart
from hpo_pipeline.engines.loop.search_loop import SearchLoop
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.terminal import PlainLines
from hpo_pipeline.results.files import write_json
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Point, Trial, TrialState

PARALLEL = 4
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run")
TELLS = """<script>
addEventListener('load', () => requestAnimationFrame(() => setTimeout(
  () => console.log('painted after ' + performance.now() + ' ms'))));
</script>"""


class StandIns:
    """Trials that are over as soon as they are started."""

    slots = PARALLEL

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._events: list[Event] = []

    def start(self, trial: TrialStart) -> None:
        """Leave the evaluation and the end of a trial for the next look at the events."""
        quality = 0.9 - abs(float(trial.assignments["learning_rate"]) - 1e-3)
        metrics = {"accuracy": quality, "loss": 1 - quality, "model_size_mb": 50.0}
        curve = (Point(1, 30, 1.0, metrics),)
        found = Trial(
            trial.name,
            trial.number,
            TrialState.SUCCEEDED,
            dict(trial.assignments),
            metrics=metrics,
            curve=curve,
            training_steps=30,
            seconds={"train": 0.0},
        )
        write_json(self._folder.trial(trial.name) / "result.json", found.to_json())
        self._events.append(Evaluated(trial.name, curve[0], lambda is_over: None))
        self._events.append(Ended(trial.name, found))

    def events(self, timeout: float) -> Iterable[Event]:
        """Return what has happened."""
        found, self._events = self._events, []
        return found

    def stop(self, name: str, *, now: bool = False) -> None:
        """Do nothing: the trial has ended."""


def experiment(algorithm: str, trials: int) -> Experiment:
    """Return an experiment of four parameters."""
    return Experiment.model_validate(
        {
            "name": "scale",
            "task": {"kind": "image-classification", "model": "vit", "data": "digits"},
            "objective": {"metric": "accuracy", "goal": "maximize"},
            "constraints": ["model_size_mb <= 75"],
            "space": {
                "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
                "weight_decay": {"type": "float", "low": 0.0, "high": 0.3},
                "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32, 64]},
                "model.num_hidden_layers": {"type": "int", "low": 1, "high": 6},
            },
            "search": {"algorithm": algorithm},
            "stopping": {"algorithm": "median"},
            "budget": {"trials": trials, "parallel": PARALLEL},
        }
    )


def search(made: Experiment, place: Path) -> None:
    """Run all trials and print what each cost."""
    folder = RunFolder(place)
    log = (place.parent / "lines.txt").open("w")
    with log, folder.locked(), Interruption().installed() as interruption:
        folder.adopt(made)
        context = RunContext(made, folder, PlainLines(made, log))
        loop = SearchLoop(context, StandIns(folder))
        wall, processor = time.perf_counter(), time.process_time()
        trials, _ = loop.run(interruption)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    folder.update(state="succeeded")
    each = 1000 / len(trials)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"engine, {made.search.algorithm}: {len(trials)} trials, {wall * each:.1f} ms each "
        f"({processor * each:.1f} ms of processor time), {memory:.0f} MiB",
        flush=True,
    )


def command(*arguments: str) -> None:
    """Run `hpo` and print the processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hpo_pipeline", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall = time.perf_counter() - start
    print(f"hpo {arguments[0]}: {wall:.1f} s ({spent:.1f} s of processor time)", flush=True)


def opened(page: Path) -> float:
    """Return the seconds from the start of loading a page until Chromium has painted it."""
    told = page.with_name("told.html")
    told.write_text(page.read_text("utf-8").replace("</body>", f"{TELLS}</body>"), "utf-8")
    with tempfile.TemporaryDirectory() as name:
        options = [f"--user-data-dir={name}/profile", "--enable-logging=stderr"]
        options += ["--window-size=1300,2000", f"--screenshot={name}/page.png"]
        done = subprocess.run(
            [*CHROMIUM, *options, told.as_uri()], check=True, capture_output=True, text=True
        )
    found = re.search(r"painted after ([0-9.]+) ms", done.stderr)
    if found is None:
        raise SystemExit(f"Chromium has not painted the page\n{done.stderr[-2000:]}")
    return float(found[1]) / 1e3


def profiled(run: Callable[[], None]) -> None:
    """Print where a function spends its time."""
    with cProfile.Profile() as taken:
        run()
    pstats.Stats(taken).sort_stats("tottime").print_stats(35)


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--algorithm", default="random")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    made = experiment(options.algorithm, options.trials)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "run"
        if options.profile:
            profiled(lambda: search(made, place))
            return
        search(made, place)
        command("status", str(place))
        command("status", str(place), "--json")
        command("report", str(place))
        report = place / "report.html"
        print(f"report: {report.stat().st_size / 2**20:.1f} MiB")
        if shutil.which(CHROMIUM[0]):
            found = statistics.median(opened(report) for _ in range(3))
            print(f"report in Chromium: painted after {found:.1f} s, median of 3")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"{os.cpu_count()} cores, load {load:.0f}")


if __name__ == "__main__":
    main()
