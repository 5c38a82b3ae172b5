"""Whether what a run says of its served model is true, measured independently of our code.

Nothing of hpo_pipeline measures here: onnxruntime and transformers run the files of the model
folder on the texts of the test rows, and time.perf_counter times them. Each repetition is a process
of its own. The claims that are checked are those of `hpo measure` and of the report:

    python -m benchmarks.served RUN [--repetitions 20]

- the served artefact against PyTorch's, on one thread, interleaved: how much faster and smaller;
- accuracy of both on the test rows;
- whether the median of a repetition lies within the interval of another measurement, `hpo
  measure` in a process beside it: of how many repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PASSES = 400
WARM_UP = 20


def main() -> int:
    """Repeat, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of an experiment with `serve`")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options.run)))
        return 0
    rounds = [_round(options.run) for _ in range(options.repetitions)]
    print(json.dumps(_summary(options.run, rounds), indent=2))
    return 0


def once(run: Path) -> dict[str, Any]:
    """Time both artefacts, one pass of each in turn, and count their right answers."""
    import numpy as np
    import onnxruntime
    import torch
    from datasets import load_from_disk
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = run / "model"
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
    (file,) = (folder / "onnx").glob("*.onnx")
    session = onnxruntime.InferenceSession(str(file), session_options)
    taken = [entry.name for entry in session.get_inputs()]
    dataset = json.loads((run / "run.json").read_text())["dataset"]
    rows = load_from_disk(str(Path(dataset) / "test"))
    record = json.loads((folder / "serving.json").read_text())
    encoded = [
        tokenizer(text, truncation=True, max_length=record["max_length"], return_tensors="pt")
        for text in rows["input"]
    ]
    names = [model.config.label2id[str(label)] for label in rows["label"]]
    order = np.random.default_rng().permutation(len(encoded))
    times: dict[str, list[float]] = {"torch": [], "served": []}
    right = {"torch": 0, "served": 0}
    with torch.inference_mode():
        for i, place in enumerate(order):
            inputs = encoded[place]
            arrays = {name: inputs[name].numpy() for name in taken}
            start = time.perf_counter()
            plain = model(**inputs).logits
            middle = time.perf_counter()
            (served,) = session.run(None, arrays)
            end = time.perf_counter()
            right["torch"] += int(plain.argmax()) == names[place]
            right["served"] += int(served.argmax()) == names[place]
            if WARM_UP <= i < WARM_UP + PASSES:
                times["torch"].append((middle - start) * 1e3)
                times["served"].append((end - middle) * 1e3)
    weights = sum(each.stat().st_size for each in folder.glob("*.safetensors"))
    return {
        "p50_ms": {name: statistics.median(found) for name, found in times.items()},
        "p95_ms": {name: statistics.quantiles(found, n=20)[-1] for name, found in times.items()},
        "accuracy": {name: count / len(names) for name, count in right.items()},
        "mb": {"torch": weights / 1e6, "served": file.stat().st_size / 1e6},
        "load": os.getloadavg()[0],
    }


def _round(run: Path) -> dict[str, Any]:
    """Return one independent measurement, and one of `hpo measure` just after it."""
    alone = _json([sys.executable, "-m", "benchmarks.served", str(run), "--once"])
    ours = _json([sys.executable, "-m", "hpo_pipeline", "measure", str(run / "model"), "--json"])
    return {"alone": alone, "ours": ours[0]}


def _json(command: list[str]) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return json.loads(subprocess.check_output(command, env=environment, text=True))


def _summary(run: Path, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    first = rounds[0]["alone"]
    result = json.loads((run / "run.json").read_text())["winner"]
    faster = [r["alone"]["p50_ms"]["torch"] / r["alone"]["p50_ms"]["served"] for r in rounds]
    return {
        "repetitions": len(rounds),
        "faster (p50, median of the repetitions)": statistics.median(faster),
        "smaller": first["mb"]["torch"] / first["mb"]["served"],
        "points of accuracy lost": 100 * (first["accuracy"]["torch"] - first["accuracy"]["served"]),
        "accuracy said by the report": result["test"]["accuracy"],
        "accuracy found": first["accuracy"]["served"],
        "p50 within the interval of hpo measure": _within(rounds, "p50"),
        "p95 within the interval of hpo measure": _within(rounds, "p95"),
        "width of the p95 interval (median)": statistics.median(map(_width, rounds)),
        "load": [round(r["alone"]["load"], 1) for r in rounds],
        "rounds": rounds,
    }


def _within(rounds: list[dict[str, Any]], name: str) -> int:
    found = 0
    for each in rounds:
        low, high = each["ours"]["intervals"][f"latency_{name}_ms"]
        value = each["alone"][f"{name}_ms"]["served"]
        found += low <= value <= (high if high is not None else float("inf"))
    return found


def _width(each: dict[str, Any]) -> float:
    low, high = each["ours"]["intervals"]["latency_p95_ms"]
    value: float = each["ours"]["metrics"]["latency_p95_ms"]
    return float("inf") if high is None else max(high - value, value - low) / value


if __name__ == "__main__":
    sys.exit(main())
