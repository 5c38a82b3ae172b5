"""Preparing many short rows, against `datasets` with the same tokenizer, in turn.

    python benchmarks/prepare.py [--rows 1000000] [--rounds 2]

Writes a csv of sentences into a temporary folder, made of the words of the assets. Ours is the
whole stage: reading, cleaning, splitting, encoding. The other is `load_dataset("csv")` and a
batched `map` of the tokenizer on the same number of processes. Both start in new processes with
empty caches. Prints CPU time, wall time, and the peak of memory of all processes together: their
RSS, which counts shared pages once for each, and their PSS, which counts them once.
"""

from __future__ import annotations

import argparse
import csv
import html
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.data import assets

OURS = """
import sys
from pathlib import Path
from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
prepare(load(Path(sys.argv[1])), Path(sys.argv[2]))
"""
OTHER = """
import os, sys
from datasets import load_dataset
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[3])
rows = load_dataset("csv", data_files=sys.argv[1], cache_dir=sys.argv[2], split="train")
rows.map(
    lambda batch: tokenizer(batch["text"], truncation=True, max_length=32),
    batched=True,
    num_proc=len(os.sched_getaffinity(0)),
)
"""
_PAUSE = 0.2


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU and wall time, and the highest memory in GB."""

    cpu: float
    wall: float
    rss: float
    pss: float

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.cpu:.0f} s of CPU time, {self.wall:.0f} s, {self.rss:.2f} GB RSS, "
            f"{self.pss:.2f} GB PSS"
        )


def write_rows(file: Path, count: int) -> None:
    """Write sentences with a label each, nearly all of them different."""
    asset = assets.ASSETS["movie"]
    lines = (assets.fetch("movie") / asset.members[0].name).read_text("utf-8").splitlines()
    words = [word for line in lines for word in html.unescape(line.split("\t", 2)[2]).split()]
    rng = random.Random(0)
    with file.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        for _ in range(count):
            start = rng.randrange(len(words) - 20)
            text = " ".join([*words[start : start + rng.randint(4, 14)], rng.choice(words)])
            rows.writerow([text, rng.choice(["positive", "negative"])])


def experiment(data: Path, file: Path) -> Path:
    """Write the experiment on the data."""
    task = {"kind": "text-classification", "model": "minilm", "data": str(data), "max_length": 32}
    sections = {
        "name": "prepare",
        "task": task,
        "objective": {"metric": "accuracy", "goal": "maximize"},
        "space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}},
        "budget": {"trials": 1},
    }
    file.write_text(json.dumps(sections), "utf-8")
    return file


def descendants(root: int) -> list[int]:
    """Return a process and all that it started, directly or not."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found


def memory(root: int) -> tuple[float, float]:
    """Return the RSS and PSS of a tree of processes in GB."""
    sums = {"Rss:": 0, "Pss:": 0}
    for process in descendants(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, *rest = line.split()
            if name in sums:
                sums[name] += int(rest[0])
    return sums["Rss:"] / 1e6, sums["Pss:"] / 1e6


def run(code: str, *arguments: str, folder: Path) -> Cost:
    """Run Python code in a new process with caches of its own, and return what it costs."""
    environment = {**os.environ, "HF_HOME": str(folder / "hf"), "TOKENIZERS_PARALLELISM": "false"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rss = pss = 0.0
    while process.poll() is None:
        found = memory(process.pid)
        rss, pss = max(rss, found[0]), max(pss, found[1])
        time.sleep(_PAUSE)
    if process.returncode:
        raise SystemExit(f"it ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.perf_counter() - start, rss, pss)


def main() -> None:
    """Run both in turn and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    model = str(assets.fetch("minilm"))
    ratios = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = folder / "rows.csv"
        write_rows(data, arguments.rows)
        file = experiment(data, folder / "experiment.json")
        print(f"{arguments.rows:,} rows, {data.stat().st_size / 1e6:.0f} MB", flush=True)
        for number in range(arguments.rounds):
            with tempfile.TemporaryDirectory(dir=folder) as out:
                ours = run(OURS, str(file), f"{out}/prepared", folder=Path(out))
                print(f"{number} ours: {ours}", flush=True)
                other = run(OTHER, str(data), f"{out}/cache", model, folder=Path(out))
                print(f"{number} datasets: {other}", flush=True)
            ratios.append((ours.cpu / other.cpu, ours.wall / other.wall))
    cpu, wall = (statistics.mean(column) for column in zip(*ratios, strict=True))
    print(f"ratio: {cpu:.2f} of CPU time, {wall:.2f} of wall time", flush=True)


if __name__ == "__main__":
    main()
