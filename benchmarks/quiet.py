"""What the quiet slot is worth: one model timed again and again beside two trainings.

    python -m benchmarks.quiet MODEL_FOLDER [--rounds 10]

Two processes train and give way as trials do. In each round the model is timed in the slot and,
just before or after, without it, so that the load of other processes is the same for both. What is
printed is the largest ratio of two p95 of each kind, and what the slot cost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from hpo_pipeline.trial.measuring.quiet import QuietSlot

WORKER = """
import sys
from pathlib import Path
import torch
from hpo_pipeline.trial.measuring.quiet import QuietSlot
torch.set_num_threads(1)
slot = QuietSlot(Path(sys.argv[1]))
slot.work()
layer = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(4)))
optimiser = torch.optim.AdamW(layer.parameters())
while True:
    loss = layer(torch.randn(64, 512)).square().mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    slot.give_way()
"""


def main() -> int:
    """Time in rounds, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, folder], env=_environment())
            for _ in range(2)
        ]
        try:
            time.sleep(15)  # until they train
            found = _rounds(options.model, Path(folder), options.rounds)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    print(json.dumps(found, indent=2))
    return 0


def _rounds(model: Path, folder: Path, rounds: int) -> dict[str, Any]:
    from hpo_pipeline.trial.measuring.remeasure import remeasure

    slot = QuietSlot(folder)
    times: dict[str, list[float]] = {"in the slot": [], "beside": []}
    widths: list[float] = []
    costs: list[float] = []
    for i in range(rounds):
        for name in ("in the slot", "beside") if i % 2 else ("beside", "in the slot"):
            if name == "beside":
                times[name].append(_p95(remeasure(model)[0]))
                continue
            start = time.perf_counter()
            with slot.alone():
                asked = time.perf_counter() - start
                measured = remeasure(model)[0]
            slot.end()  # it does not train
            costs.append(asked)
            times[name].append(_p95(measured))
            low, high = measured.found.intervals["latency_p95_ms"]
            value = times[name][-1]
            widths.append(float("inf") if high is None else max(high - value, value - low) / value)
    return {
        "rounds": rounds,
        "p95 ms, median": {name: statistics.median(found) for name, found in times.items()},
        "largest / smallest p95": {name: max(found) / min(found) for name, found in times.items()},
        "p95 of neighbouring rounds differ by at most 15 %": {
            name: sum(_is_near(a, b) for a, b in pairwise(found)) for name, found in times.items()
        },
        "half width of the interval in the slot, median": statistics.median(widths),
        "seconds until the others stood still, median": statistics.median(costs),
        "load": os.getloadavg()[0],
        "times": times,
    }


def _p95(measured: Any) -> float:
    value: float = measured.found.metrics["latency_p95_ms"]
    return value


def _is_near(one: float, other: float) -> bool:
    return max(one, other) / min(one, other) <= 1.15


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    sys.exit(main())
