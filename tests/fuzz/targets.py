"""What is fuzzed: for each kind of input, how one is made and what reads it.

`make` writes an input into a folder and returns the function that reads it. Whatever that
raises, but an HpoError with exit code 2, is a fault of the program.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from hpo_pipeline.experiment.formula import Constraint, Formula
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import render
from hpo_pipeline.results.outcome import Selected, Winner
from hpo_pipeline.results.run_state import RunState
from tests.fuzz import mutation

ROOT = Path(__file__).parents[2]
Run = Callable[[], int | None]
QUICK = ("random", "grid", "tpe", "genetic", "pbt")


@dataclass(frozen=True)
class Target:
    """A kind of input, and its share of all inputs."""

    share: int
    make: Callable[[Random, Path], Run]


WIDE = """
name: wide
task:
  kind: text-classification
  model: some/model
  data: some/data
  columns: {input: text, label: label}
  rows: {train: 100, validation: 0.2, seed: 1}
  training: {num_train_epochs: 3, per_device_train_batch_size: 8, eval_strategy: epoch}
  config: {hidden_dropout_prob: 0.1}
  metrics: {mine: my_metrics:mine}
objective:
  - {metric: f1, goal: maximize}
  - {score: "accuracy - 0.1 * log(latency_p95_ms)", goal: maximize}
constraints: ["latency_p95_ms <= 15", "model_size_mb < 100 + 2 * 3"]
space:
  learning_rate: {type: float, low: 1.0e-5, high: 1.0e-2, log: true}
  weight_decay: {type: float, low: 0.0, high: 0.3, step: 0.1}
  optim: {type: choice, values: [adamw_torch, sgd]}
  adam_beta1: {type: float, low: 0.8, high: 0.99, when: {optim: adamw_torch}}
  warmup_steps: {type: int, low: 0, high: 1000, when: {optim: [sgd]}}
  task.max_length: {type: int, low: 16, high: 128, step: 16}
search: {algorithm: nsga2, seed: 3, settings: {population: 6}, warm_start: [runs/a]}
budget: {trials: 20, parallel: 2, max_failed: 3, minutes: 10, keep: 2}
select: {rule: lexicographic, order: [f1, score], tolerance: {f1: 0.01}}
confirm: {top: 2, seeds: 2}
local: {trials_per_gpu: 2, threads: 1}
cluster:
  namespace: team
  gpus: 1
  env: {HF_HOME: /tmp/hf, PW: {secretKeyRef: {name: s, key: k}}}
  volumes: [{name: v, emptyDir: {}}]
  volume_mounts: [{name: v, mountPath: /v}]
  tolerations: [{key: a, operator: Exists}]
  storage: {uri: "s3://bucket/path", secret: creds}
register: {model: wide, registry: "mlflow://host:5000", min_gain: 0.01}
"""
ONE = """
name: one
task: {kind: text-classification, model: m/m, data: d/d, training: {logging_steps: 5}}
objective: {metric: accuracy, goal: maximize}
space:
  num_train_epochs: {type: int, low: 1, high: 9}
  weight_decay: {type: float, low: 0.0, high: 0.3, step: 0.1}
search: {algorithm: grid, start: [{num_train_epochs: 3, weight_decay: 0.1}]}
stopping: {algorithm: hyperband, resource: epoch, reduction_factor: 3}
budget: {trials: 9, target: 0.9}
"""


@functools.cache
def _experiments() -> list[str]:
    files = sorted((ROOT / "experiments").glob("*.yaml"))
    return [WIDE, ONE, *(file.read_text("utf-8") for file in files)]


def experiments(rng: Random, folder: Path) -> Run:
    """Make an experiment file; read it, and do with it what needs no data."""
    source = rng.choice(_experiments())
    file = folder / "experiment.yaml"
    if rng.random() < 0.4:
        text = mutation.text(rng, source)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        found = mutation.structure(rng, yaml.safe_load(source))
        dump = mutation.as_json if rng.random() < 0.5 else yaml.safe_dump
        file.write_text(dump(found), "utf-8", errors="replace")
    return lambda: _exercise(load(file), rng)


def _exercise(experiment: Experiment, rng: Random) -> None:
    """Do what the stages do with an experiment before anything is trained."""
    assert Experiment.model_validate_json(experiment.to_json()) == experiment
    experiment.identity()
    experiment.space.size()
    experiment.max_length()
    experiment.longest_training()
    population(experiment)
    points = {name: experiment.space[name].point(0) for name in experiment.space}
    texts = {name: render(value) for name, value in points.items()}
    assert experiment.space.parse(texts) == points
    from hpo_pipeline.engines.katib.manifest import as_yaml, manifests

    as_yaml(manifests(experiment))
    if experiment.search.algorithm in QUICK and rng.random() < 0.2:
        from hpo_pipeline.search.study import Study

        study = Study(experiment.problem)
        for _ in range(2):
            asked = study.ask().assignments
            assert all(experiment.space[n].contains(v) for n, v in asked.items())


NAMES = ["accuracy", "loss", "latency_p95_ms", "x", "score"]
PARTS = [
    *NAMES,
    *("+", "-", "*", "/", "**", "(", ")", ",", "<=", ">", "==", "1", "0", "1e308", "9", "0.5"),
    *(
        "min(",
        "max(",
        "log(",
        "not",
        "and",
        "if",
        "lambda",
        "[",
        "]",
        "'",
        "\0",
        "\U0001d7d9",
        "__",
        ".",
    ),
]
EXTREMES = [0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("inf"), float("nan"), 710.0]


def formulas(rng: Random, folder: Path) -> Run:
    """Make a formula or constraint; evaluate it on extreme metrics."""
    text = " ".join(rng.choice(PARTS) for _ in range(rng.choice((1, 3, 5, 9, 40, 300))))
    if rng.random() < 0.5:
        text = mutation.text(rng, "accuracy - 0.1 * log(latency_p95_ms) + max(x, 2) ** 2 <= 3")
    metrics = {name: rng.choice(EXTREMES) for name in NAMES}

    def run() -> int:
        try:
            formula, constraint = Formula(text), None
            constraint = Constraint(text)
        except ValueError:
            if "formula" not in locals():
                return 2
        try:
            formula.evaluate(metrics)
        except KeyError:
            return 2  # a metric that there is not
        if constraint is not None:
            constraint.violation(metrics)
        return 0

    return run


def _rows(rng: Random) -> list[dict[str, Any]]:
    words = ["good", "bad", "fine", "poor"]
    return [
        {"text": f"{rng.choice(words)} {i}", "label": rng.choice(["a", "b", "c"]), "n": i}
        for i in range(rng.choice((20, 40, 80)))
    ]


def tables(rng: Random, folder: Path) -> Run:
    """Make a table in one of the formats, or several; read and split it."""
    kind = rng.choice(("csv", "csv", "tsv", "json", "jsonl", "parquet"))
    names = rng.choice((["data"], ["data"], ["train", "test"], ["train", "dev"]))
    for name in names:
        (folder / f"{name}.{kind}").write_bytes(_table(rng, kind))
    where = folder / f"data.{kind}" if names == ["data"] else folder
    task = {
        "data": str(where),
        "columns": rng.choice(({}, {}, {}, {"input": "text"}, {"label": "n"})),
    }
    return lambda: _read(folder, {"kind": "text-classification", **task})


def _table(rng: Random, kind: str) -> bytes:
    rows: Any = _rows(rng)
    if kind in ("json", "jsonl") and rng.random() < 0.6:
        rows = mutation.structure(rng, rows)
    if kind == "parquet":
        return _parquet(rng)
    if kind == "json":
        found = mutation.as_json(rows)
    elif kind == "jsonl":
        found = "\n".join(map(mutation.as_json, rows if isinstance(rows, list) else [rows]))
    else:
        mark = "," if kind == "csv" else "\t"
        found = "\n".join([mark.join(rows[0]), *(mark.join(map(str, r.values())) for r in rows)])
    if rng.random() < 0.7:
        found = mutation.text(rng, found)
    encoded = found.encode(rng.choice(("utf-8",) * 9 + ("utf-16",)), "surrogatepass")
    return mutation.content(rng, encoded) if rng.random() < 0.2 else encoded


def _parquet(rng: Random) -> bytes:
    """Make a parquet file: its bytes changed, or a column of another kind."""
    import pandas as pd

    stream = io.BytesIO()
    frame = pd.DataFrame(_rows(rng))
    if rng.random() < 0.5:
        name = rng.choice(list(frame))
        odd = rng.choice(([1], {"a": 1}, b"\xff", 1.5, None, True, 2**60, pd.Timestamp(0)))
        frame[name] = [odd for _ in range(len(frame))]
        if rng.random() < 0.3:
            frame = frame.rename(columns={name: rng.choice(mutation.NASTY_TEXTS[:4])})
        frame.to_parquet(stream)
        return stream.getvalue()
    frame.to_parquet(stream)
    return mutation.content(rng, stream.getvalue())


def _read(folder: Path, task: dict[str, Any]) -> None:
    from hpo_pipeline.data.sources import read_tables
    from hpo_pipeline.data.splitting.splits import split
    from hpo_pipeline.experiment.task import Task

    found = Task.model_validate({"model": "some/model", **task})
    tables = read_tables(found)
    split(tables.tables, found.rows, tables.tallies, form=tables.form)


MODES = ("L", "RGB", "RGBA", "P", "I;16", "1")


@functools.cache
def _pictures() -> list[tuple[str, bytes]]:
    import numpy as np
    from PIL import Image

    listed = []
    for shift, mode in itertools.product(range(8), MODES):
        values = (np.arange(64) * 7 + 29 * shift) % 256
        for kind in ("png", "tiff") if mode == "I;16" else ("png", "gif", "tiff"):
            grey = values.astype(np.uint16 if mode == "I;16" else np.uint8).reshape(8, 8)
            image = Image.fromarray(grey) if mode == "I;16" else Image.fromarray(grey).convert(mode)
            stream = io.BytesIO()
            image.save(stream, format=kind)
            listed.append((kind, stream.getvalue()))
    stream = io.BytesIO()
    Image.new("RGB", (9, 5)).save(stream, format="jpeg")
    return [*listed, ("jpg", stream.getvalue())]


def images(rng: Random, folder: Path) -> Run:
    """Make a folder of images with one that is odd; read, decode and split it."""
    odd = rng.randrange(16)
    for i, (kind, content) in enumerate(rng.sample(_pictures(), 16)):
        if i == odd:
            content = mutation.content(rng, content)
            kind = rng.choice((kind, kind, kind, "png", "txt"))
        place = folder / "images" / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.{kind}").write_bytes(content)
    task: dict[str, Any] = {
        "kind": "image-classification",
        "data": str(folder / "images"),
        "model": "vit",
    }
    sides = rng.choice(({}, {"image_size": 8, "patch_size": 4}, {"num_channels": 1}))
    task |= {"from_scratch": True, "config": sides}
    return lambda: _read(folder, task)


CONFIG = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "vocab_size": 8,
    "id2label": {"0": "a", "1": "b"},
    "label2id": {"a": 0, "b": 1},
    "hidden_act": "gelu",
    "torch_dtype": "float32",
}
VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "good": 5, "bad": 6}
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"},
}
SPECIAL = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "pad_token": "[PAD]"}


@functools.cache
def _weights() -> bytes:
    """Return the weights of a model of CONFIG; the imports are then done before any clock runs."""
    import transformers

    import hpo_pipeline.jobs.check

    assert hpo_pipeline.jobs.check
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**CONFIG))
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        return (Path(place) / "model.safetensors").read_bytes()


def models(rng: Random, folder: Path) -> Run:
    """Make a model folder in which one file is odd; check an experiment that trains it."""
    odd = rng.choice(("config.json", "config.json", "tokenizer.json", "model.safetensors", "none"))
    files: dict[str, Any] = {
        "config.json": CONFIG,
        "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": SPECIAL,
    }
    for name, found in files.items():
        text = mutation.as_json(mutation.structure(rng, found) if name == odd else found)
        text = mutation.text(rng, text) if name == odd and rng.random() < 0.2 else text
        (folder / name).write_text(text, "utf-8", errors="replace")
    weights = _weights()
    if odd == "model.safetensors":
        (size,) = struct.unpack("<Q", weights[:8])
        header = mutation.structure(rng, json.loads(weights[8 : 8 + size]))
        known = json.dumps(header).encode()
        weights = struct.pack("<Q", len(known)) + known + weights[8 + size :]
    if odd == "model.safetensors" and rng.random() < 0.5:
        weights = mutation.content(rng, weights)
    (folder / "model.safetensors").write_bytes(weights)
    return lambda: _check_model(folder)


def _check_model(folder: Path) -> int:
    from hpo_pipeline.experiment.task import Task
    from hpo_pipeline.jobs.check import argument_faults

    content = {"kind": "text-classification", "model": str(folder), "data": "some/data"}
    task = Task.model_validate({**content, "max_length": 16})
    return 2 if argument_faults({"task": task}) else 0


def runs(rng: Random, folder: Path) -> Run:
    """Make a run folder in which one file is odd; show it."""
    run = folder / "run"
    experiment = yaml.safe_load(_experiments()[1])
    files: dict[str, Any] = {"experiment.json": experiment, "run.json": _state()}
    for number in range(3):
        files[f"trials/one-000{number}/result.json"] = _result(number)
    odd = rng.choice(list(files))
    for name, found in files.items():
        text = mutation.as_json(found)
        if name == odd:
            text = mutation.as_json(mutation.structure(rng, found))
            text = mutation.text(rng, text) if rng.random() < 0.3 else text
        place = run / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8", errors="replace")
    for strange in rng.sample((".DS_Store", "x", "one-0009", "other-0001"), rng.randrange(3)):
        (run / "trials" / strange).mkdir() if rng.random() < 0.5 else (
            run / "trials" / strange
        ).touch()
    command = rng.choice((["status"], ["status", "--json"], ["show", "1"], ["show", "one-0002"]))
    return lambda: _command([*command, str(run)])


def _state() -> Any:
    assignments, metrics = {"num_train_epochs": 3, "weight_decay": 0.1}, {"accuracy": 0.6}
    found = RunState(
        state="succeeded",
        seconds=12.5,
        dataset="/data/one",
        selected=Selected("one-0001", "one-0001", 0),
        winner=Winner("one-0001", assignments, metrics, test=metrics, model="/models/one"),
        kept=("one-0001",),
    )
    return json.loads(json.dumps(found.to_json()))


def _result(number: int) -> dict[str, Any]:
    return {
        "name": f"one-000{number}",
        "number": number,
        "state": ["succeeded", "stopped", "failed"][number],
        "assignments": {"num_train_epochs": 3, "weight_decay": 0.1 * number},
        "metrics": {"accuracy": 0.5 + 0.1 * number, "model_size_mb": 3.0},
        "curve": [
            {
                "step": 1,
                "training_step": 5,
                "epoch": 1.0,
                "metrics": {"accuracy": 0.5},
                "seconds": 1.0,
            }
        ],
        "reason": "out of memory" if number == 2 else "",
    }


def _command(arguments: list[str]) -> int:
    from hpo_pipeline.cli.main import main

    return main(arguments)


TARGETS = {
    "experiments": Target(8, experiments),
    "formulas": Target(4, formulas),
    "tables": Target(5, tables),
    "images": Target(2, images),
    "models": Target(2, models),
    "runs": Target(3, runs),
}
