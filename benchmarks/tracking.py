"""What tracking costs a run: time in the run's own process, and CPU time of the process that sends.

    python benchmarks/tracking.py FOLDER [TRACKER]      with MLFLOW_TRACKING_URI for mlflow

A search of 200 trials with ten evaluations each is played to the progress, and then sent.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hpo_pipeline.reports.terminal.silence import Silence
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.trackers.queue import Queue
from hpo_pipeline.trackers.sender_process import SenderProcess
from hpo_pipeline.trackers.tracked_progress import TrackedProgress
from tests.toys import toy_curve, toy_experiment, toy_trial

TRIALS, POINTS = 200, 10


def main() -> None:
    """Measure and print."""
    folder = RunFolder(Path(sys.argv[1]))
    name = sys.argv[2] if len(sys.argv) > 2 else "tensorboard"
    with folder.locked():
        folder.adopt(toy_experiment())
        folder.run_id()
    progress = TrackedProgress(Silence(), Queue(folder.tracking))
    done: list[Trial] = []
    spent = time.process_time()
    for number in range(TRIALS):
        values = [0.5 + point / 100 for point in range(POINTS)]
        trial = toy_trial(number, curve=toy_curve(*values), accuracy=values[-1])
        for point in range(POINTS + 1):
            curve = trial.curve[:point]
            now = dataclasses.replace(trial, state=TrialState.RUNNING, curve=curve, metrics={})
            progress.update([*done, now], seconds=1.0)
        done.append(trial)
        progress.update(done, seconds=1.0)
    spent = time.process_time() - spent
    print(f"in the run's own process: {spent / TRIALS * 1000:.2f} ms of CPU time a trial")
    begun = time.monotonic()
    sender = SenderProcess(folder.path, folder.tracking, name, print)
    sender.close(patience=600)
    wall = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{name}, {TRIALS} trials: {cpu:.1f} s of CPU time, {wall:.1f} s; peak {peak(used)} MiB")
    print(f"load {os.getloadavg()[0]:.1f}")


def peak(used: resource.struct_rusage) -> int:
    """Return the most memory of a child in MiB."""
    return used.ru_maxrss // 1024


if __name__ == "__main__":
    main()
