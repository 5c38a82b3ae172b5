"""Whether what a run says of its served model is true, measured independently of our code.

Nothing of hpo_pipeline measures here: onnxruntime or transformers run the files of the model
folder on the texts of the test rows, and time.perf_counter times them. Each repetition is a process
of its own, which loads one artefact alone: beside another one its caches would be colder than in a
deployment.

    python -m benchmarks.served RUN [--repetitions 20] [--no-again]

Each repetition measures p50, p90 and p95 of all test rows in random order, the throughput of 32
rows, the size, and the accuracy. It counts in how many repetitions each number lies within

- the interval of the report (conclusion.json of the run), and
- the interval of `hpo measure` on the same texts, run anew beside each repetition (not with
  --no-again).

Then PyTorch's model, its plain ONNX export and what is served run in turn, pass by pass, in one
process for each of five rounds: how much faster what is served is, whatever else the machine does.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UP = 30
ROUNDS, PASSES = 5, 200
BATCH = 32
SHARES = {"latency_p50_ms": 0.5, "latency_p90_ms": 0.9, "latency_p95_ms": 0.95}
Run = Callable[[dict[str, Any]], Any]


def main() -> int:
    """Repeat, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of an experiment with `serve`")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--no-again", action="store_true", help="without `hpo measure`")
    parser.add_argument("--worker", choices=("alone", "in-turn"), help=argparse.SUPPRESS)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        found = alone(options.run) if options.worker == "alone" else in_turn(options)
        print(json.dumps(found))
        return 0
    start = time.time()
    report = _report(options.run)
    repetitions = []
    for number in range(1, 1 + options.repetitions):
        repetitions.append(_repetition(options.run, not options.no_again))
        print(_line(number, repetitions[-1]["alone"], report), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain = _exported(options.run / "model", Path(scratch))
        rounds = [_worker(options.run, "in-turn", "--plain", str(plain)) for _ in range(ROUNDS)]
    print(json.dumps(_summary(options.run, repetitions, rounds, time.time() - start), indent=2))
    return 0


def alone(run: Path) -> dict[str, Any]:
    """Measure what is served, with nothing else in the process."""
    import numpy as np

    folder = run / "model"
    record = json.loads((folder / "serving.json").read_text())
    texts, labels = _rows(run)
    if record["format"] == "onnx":
        (file,) = (folder / "onnx").glob("*.onnx")
        forward, size = _onnx(file), file.stat().st_size
    else:
        forward, size = _torch(folder), _weights(folder)
    tokenize = _tokenizer(folder, record["max_length"])
    requests = [tokenize([text]) for text in texts]
    order = np.random.default_rng().permutation(len(requests))
    for place in order[:WARM_UP]:
        forward(requests[place])
    times, right = [], 0
    for place in order:
        start = time.perf_counter()
        logits = forward(requests[place])
        times.append((time.perf_counter() - start) * 1e3)
        right += int(logits.argmax()) == labels[place]
    by_length = sorted(range(len(texts)), key=lambda i: requests[i]["input_ids"].shape[1])
    middles = [by_length[(2 * i + 1) * len(texts) // (2 * BATCH)] for i in range(BATCH)]
    batch = tokenize([texts[i] for i in middles])
    seconds = [_seconds(forward, batch) for _ in range(8)][1:]
    return {
        **{name: float(np.quantile(times, share)) for name, share in SHARES.items()},
        "throughput_per_s": BATCH / statistics.median(seconds),
        "model_size_mb": size / 1e6,
        "accuracy": right / len(labels),
        "load": os.getloadavg()[0],
    }


def in_turn(options: argparse.Namespace) -> dict[str, Any]:
    """Return the median milliseconds of each artefact, a pass of each in turn, and its accuracy."""
    folder = options.run / "model"
    max_length = json.loads((folder / "serving.json").read_text())["max_length"]
    texts, labels = _rows(options.run)
    tokenize = _tokenizer(folder, max_length)
    runs: dict[str, Run] = {"torch": _torch(folder), "onnx": _onnx(options.plain)}
    runs |= {f"served ({file.name})": _onnx(file) for file in (folder / "onnx").glob("*.onnx")}
    times: dict[str, list[float]] = {name: [] for name in runs}
    right = dict.fromkeys(runs, 0)
    requests = [tokenize([text]) for text in texts]
    for i, (request, label) in enumerate(zip(requests, labels, strict=True)):
        for name, forward in runs.items():
            start = time.perf_counter()
            logits = forward(request)
            if WARM_UP <= i < WARM_UP + PASSES:
                times[name].append((time.perf_counter() - start) * 1e3)
            right[name] += int(logits.argmax()) == label
    return {
        "p50_ms": {name: statistics.median(found) for name, found in times.items()},
        "accuracy": {name: count / len(labels) for name, count in right.items()},
    }


def _rows(run: Path) -> tuple[list[str], list[int]]:
    from datasets import load_from_disk

    dataset = json.loads((run / "run.json").read_text())["dataset"]
    rows: Any = load_from_disk(str(Path(dataset) / "test"))
    names = json.loads((run / "model" / "config.json").read_text())["label2id"]
    return list(rows["input"]), [names[str(label)] for label in rows["label"]]


def _tokenizer(folder: Path, max_length: int) -> Callable[[list[str]], dict[str, Any]]:
    import numpy as np
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding()

    def tokenize(texts: list[str]) -> dict[str, Any]:
        found = tokenizer.encode_batch(texts)
        return {
            "input_ids": np.asarray([each.ids for each in found]),
            "attention_mask": np.asarray([each.attention_mask for each in found]),
            "token_type_ids": np.asarray([each.type_ids for each in found]),
        }

    return tokenize


def _onnx(file: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)
    taken = [entry.name for entry in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in taken})[0]


def _torch(folder: Path) -> Run:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(1)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def forward(inputs: dict[str, Any]) -> Any:
        with torch.inference_mode():
            return model(**{n: torch.from_numpy(value) for n, value in inputs.items()}).logits

    return forward


def _exported(folder: Path, scratch: Path) -> Path:
    """Export the model of a folder to ONNX with the exporter of torch alone."""
    import torch
    from transformers import AutoModelForSequenceClassification

    names = ("input_ids", "attention_mask", "token_type_ids")
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        model,
        (),
        kwargs={name: torch.ones(2, 8, dtype=torch.long) for name in names},
        dynamo=True,
        input_names=list(names),
        dynamic_shapes=dict.fromkeys(names, sizes),
        verbose=False,
    )
    assert program is not None
    program.save(str(scratch / "plain.onnx"))
    return scratch / "plain.onnx"


def _seconds(forward: Run, batch: dict[str, Any]) -> float:
    start = time.perf_counter()
    forward(batch)
    return time.perf_counter() - start


def _weights(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _repetition(run: Path, again: bool) -> dict[str, Any]:
    """Return an independent measurement, and one of `hpo measure` just after it."""
    found = {"alone": _worker(run, "alone")}
    if again:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in _rows(run)[0])
            file.flush()
            command = [sys.executable, "-m", "hpo_pipeline", "measure", str(run / "model")]
            found["again"] = _json([*command, "--rows", file.name, "--json"])[0]
    return found


def _worker(run: Path, worker: str, *more: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.served", str(run), "--worker", worker, *more]
    return _json(command)


def _json(command: list[str]) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return json.loads(subprocess.check_output(command, env=environment, text=True).strip())


def _report(run: Path) -> dict[str, Any]:
    """Return what the run says of its winner on the test rows."""
    conclusion = json.loads((run / "conclusion.json").read_text())
    found: dict[str, Any] = conclusion["evaluations"][conclusion["run"]]
    return found


def _line(number: int, alone: dict[str, Any], report: dict[str, Any]) -> str:
    names = (*SHARES, "throughput_per_s", "accuracy")
    told = (
        f"{name} {alone[name]:.4g} {'in' if _is_within(alone, name, report) else 'out'}"
        for name in names
    )
    return f"{number}: {', '.join(told)}; load {alone['load']:.1f}"


def _summary(
    run: Path, repetitions: list[dict[str, Any]], rounds: list[dict[str, Any]], took: float
) -> dict[str, Any]:
    result = json.loads((run / "run.json").read_text())
    report = _report(run)
    alone = [each["alone"] for each in repetitions]
    sizes = {"torch": _weights(run / "model") / 1e6, "served": alone[0]["model_size_mb"]}
    ratios = {
        name: statistics.median(each["p50_ms"]["torch"] / each["p50_ms"][name] for each in rounds)
        for name in rounds[0]["p50_ms"]
    }
    found: dict[str, Any] = {
        "winner": result["winner"]["name"] if result.get("winner") else None,
        "repetitions": len(repetitions),
        "within the interval of the report": {
            name: sum(_is_within(each, name, report) for each in alone)
            for name in (*SHARES, "throughput_per_s", "model_size_mb", "accuracy")
        },
        "faster than PyTorch (p50, in turn, median of the rounds)": ratios,
        "smaller than PyTorch": sizes["torch"] / sizes["served"],
        "accuracy, in turn": rounds[0]["accuracy"],
        "half width of the intervals of the report": {
            name: _width(report, name) for name in (*SHARES, "throughput_per_s")
        },
        "p95 of the repetitions, smallest and largest": [
            pick(each["latency_p95_ms"] for each in alone) for pick in (min, max)
        ],
        "load": [round(each["load"], 1) for each in alone],
        "seconds": round(took),
    }
    if "again" in repetitions[0]:
        found["within the interval of hpo measure"] = {
            name: sum(_is_within(each["alone"], name, each["again"]) for each in repetitions)
            for name in (*SHARES, "throughput_per_s", "model_size_mb")
        }
        found["half width of the intervals of hpo measure, median"] = {
            name: statistics.median(_width(each["again"], name) for each in repetitions)
            for name in (*SHARES, "throughput_per_s")
        }
    return {**found, "report": report, "measured": repetitions, "in turn": rounds}


def _is_within(alone: dict[str, Any], name: str, claimed: dict[str, Any]) -> bool:
    """Return whether a number lies in the interval that is claimed, or equals one without."""
    if name not in claimed["intervals"]:
        return abs(alone[name] - claimed["metrics"][name]) <= 1e-6 * abs(alone[name])
    low, high = claimed["intervals"][name]
    return bool(low <= alone[name] and (high is None or alone[name] <= high))


def _width(claimed: dict[str, Any], name: str) -> float:
    value = claimed["metrics"][name]
    low, high = claimed["intervals"].get(name, (value, value))
    return float("inf") if high is None else max(high - value, value - low) / value


if __name__ == "__main__":
    sys.exit(main())
