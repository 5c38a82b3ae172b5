"""The exporter with 500 experiments and 20 000 trials: seconds a scrape, memory, and requests.

    python benchmarks/exporter.py [--experiments 500] [--trials 20000]

The API is a fake that makes its objects page by page, so that the memory is the exporter's own.
A scrape is measured from outside, over HTTP, in wall and in CPU time.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import kubernetes.client  # noqa: F401  what the command loads counts, too

import hpo_pipeline.cli.main  # noqa: F401
from hpo_pipeline.monitoring.collector import registry_of
from hpo_pipeline.monitoring.katib_cache import KatibCache
from hpo_pipeline.monitoring.serving import metrics_server
from tests.monitoring.katib_objects import ListedApi, experiment, pod, trial

METRICS = ("f1", "accuracy", "precision", "recall", "loss", "latency_p95_ms", "model_size_mb")
SCRAPES = 10


class Made:
    """Objects that are made when they are asked for."""

    def __init__(self, count, make):
        self.count, self.make = count, make


class MadeApi(ListedApi):
    """An API of made objects: a page makes only its own."""

    def list(self, kind, namespace, *, labels="", fields="", limit=0, after=""):
        made, begun = self.items[kind.plural], int(after or 0)
        self.requests += 1
        found = [made.make(i) for i in range(begun, min(begun + limit, made.count))]
        more = str(begun + limit) if begun + limit < made.count else ""
        return {"items": found, "metadata": {"resourceVersion": "1", "continue": more}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument("--trials", type=int, default=20_000)
    options = parser.parse_args()
    states = ("Succeeded", "Succeeded", "EarlyStopped", "Failed", "Running")

    def make_trial(i):
        values = {name: 0.5 + i / options.trials for name in METRICS}
        owner = f"experiment-{i % options.experiments:03d}"
        state = states[(i // options.experiments) % len(states)]
        return trial(f"trial-{i:05d}", of=owner, state=state, seconds=60 + i % 900, **values)

    api = MadeApi(
        experiments=Made(options.experiments, lambda i: experiment(f"experiment-{i:03d}")),
        trials=Made(options.trials, make_trial),
        pods=Made(options.trials, lambda i: pod(f"trial-{i:05d}", waited=i % 60)),
    )
    cache = KatibCache(api, "")
    begun = time.monotonic()
    cache.start()
    while not all(feed.listed.is_set() for feed in cache._feeds.values()):
        time.sleep(0.1)
    print(f"listed in {time.monotonic() - begun:.1f} s; load {os.getloadavg()[0]:.1f}")
    with metrics_server(registry_of(cache), port=0) as port:
        for i in range(SCRAPES):
            before, cpu, asked = time.monotonic(), time.process_time(), api.requests
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read()
            wall, used = time.monotonic() - before, time.process_time() - cpu
            print(
                f"scrape {i}: {wall:.2f} s wall, {used:.2f} s CPU, {len(text) / 1e6:.1f} MB, "
                f"{text.count(b'hpo_') - 2 * text.count(b'# HELP')} series, "
                f"{api.requests - asked} requests"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")
    os._exit(0)  # the watches of the fake wait for ever


if __name__ == "__main__":
    main()
