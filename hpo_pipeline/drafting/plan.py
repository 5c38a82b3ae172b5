"""What to search, given the data, the hardware and what matters: model, space and budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hpo_pipeline.drafting.durations import Machine, Work
from hpo_pipeline.drafting.facts import Facts
from hpo_pipeline.drafting.guess import IMAGES, LANGUAGE, PAIRS, TEXT, Guess

Matter = Literal["quality", "latency", "size", "cost"]
MATTERS: dict[Matter, tuple[str, str, str]] = {
    "quality": ("", "", "the best answers"),
    "latency": ("latency_p95_ms", "minimize", "fast answers, with quality close to the best"),
    "size": ("model_size_mb", "minimize", "a small model, with quality close to the best"),
    "cost": ("throughput_per_s", "maximize", "many answers a second of a machine, near the best"),
}
"""What may matter: the second metric, its direction, and what it means."""
TOLERANCE = 0.01
CHAT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
TRIALS = 10
PATIENCE_S = 60.0
"""A trial on a CPU should not take longer; more training rows than fit are left for later."""
LEAST_TRAIN = 500
Range = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """An experiment before it is written.

    Attributes:
        task: fields of the section beside kind, data and columns, the model first.
        why: by a field of the task, why it has that value.
        train: the number of training rows, where fewer than all are used.
        minutes: how long the run takes, roughly.
    """

    task: dict[str, Any]
    metric: str
    goal: Literal["maximize", "minimize"]
    matter: Matter
    space: dict[str, Range]
    trials: int
    parallel: int
    minutes: float
    train: int | None = None
    why: Mapping[str, str] = field(default_factory=dict)


def plan(
    guess: Guess, facts: Facts, machine: Machine, *, matter: Matter, model: str | None
) -> Plan:
    """Choose what to search.

    Args:
        model: the base model that the user names; None chooses one.
    """
    fields, why = _task(guess, facts, machine, model)
    metric, goal = _metric(guess, facts)
    layers = _layers(machine, matter) if fields["model"] == "minilm" else None
    space = _space(guess, facts, layers)
    epochs = fields["training"]["num_train_epochs"]
    work = Work.of(fields, facts, layers[1] if layers else None)
    parallel = machine.at_once
    rows = facts.rows["train"]
    seconds = machine.seconds(work, rows, epochs)
    train = None
    if seconds > PATIENCE_S and rows > LEAST_TRAIN and not machine.gpus:
        a_row = (seconds - machine.seconds(work, 0, epochs)) / rows
        left = PATIENCE_S - machine.seconds(work, 0, epochs)
        fitting = _rounded(max(LEAST_TRAIN, int(left / a_row)))
        train = fitting if fitting < rows else None
        seconds = machine.seconds(work, train or rows, epochs)
    total = machine.startup * 3 + math.ceil(TRIALS / parallel) * seconds
    return Plan(
        fields, metric, goal, matter, space, TRIALS, parallel, total / 60, train=train, why=why
    )


def _task(
    guess: Guess, facts: Facts, machine: Machine, model: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return fields of the section `task`, and why they are so."""
    rows = facts.rows["train"]
    epochs = 6 if rows < 300 else 4 if rows < 1200 else 3 if rows < 5000 else 2
    training: dict[str, Any] = {"num_train_epochs": epochs}
    if guess.kind == IMAGES:
        return _image_task(facts, training, model)
    length = _tokens(facts.words[1], most=256 if not machine.gpus else 512)
    why = {"max_length": f"95 % of the inputs have at most {facts.words[1]:.0f} words"}
    if guess.kind in (LANGUAGE, PAIRS):
        return _language_task(guess, facts, training, length=length, model=model)
    fields: dict[str, Any] = {"model": model or "minilm", "max_length": length}
    if model is None:
        why["model"] = "English, small enough for a CPU; or a folder, or an id of the hub"
        if not facts.is_english:
            why["model"] = "learnt English only: for these texts name a multilingual one of the hub"
        if not machine.gpus:
            fields["freeze"] = "embeddings"
            why["freeze"] = "a fifth faster, and no worse on few rows"
    return {**fields, "training": training}, why


def _image_task(
    facts: Facts, training: dict[str, Any], model: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    if model is not None:
        return {"model": model, "training": training}, {}
    assert facts.shape is not None
    side = min(max(facts.shape[:2]), 32)
    config = {"patch_size": 2 if side <= 16 else 4, "hidden_size": 48}
    config |= {"num_attention_heads": 4, "intermediate_size": 96}
    why = {
        "model": "a small one from scratch; with a network, google/vit-base-patch16-224 is better"
    }
    if facts.shape[0] != facts.shape[1] or max(facts.shape[:2]) > side:
        config["image_size"] = side
        why["config"] = f"images are scaled from {facts.shape[0]} x {facts.shape[1]} pixels"
    fields = {"model": "vit", "from_scratch": True, "config": config}
    return {**fields, "training": {"num_train_epochs": 12}}, why


def _language_task(
    guess: Guess, facts: Facts, training: dict[str, Any], *, length: int, model: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    training = {**training, "per_device_train_batch_size": 8}
    target = _tokens(facts.target_words[1], most=256)
    extra = {"max_target_length": target} if guess.kind == PAIRS else {}
    length = length + target if guess.kind == LANGUAGE and facts.target_words[1] else length
    if model is not None:
        return {"model": model, "max_length": length, **extra, "training": training}, {}
    if guess.settings.get("examples") == "chats":
        lora = {"rank": 8, "alpha": 16}
        why = {"model": "a small model for chats, fetched from the hub; or a folder of yours"}
        fields = {"model": CHAT_MODEL, "max_length": max(length, 128), "lora": lora}
        return {**fields, "training": {**training, "num_train_epochs": 2}}, why
    why = {"model": "from scratch, for a machine without a network; a pretrained one is far better"}
    vocabulary = {"from_scratch": True, "tokenizer": "bpe", "vocab_size": 2000}
    sizes: dict[str, Any] = {"n_embd": 128, "n_layer": 2, "n_head": 2, "n_positions": length}
    name = "gpt2"
    if guess.kind == PAIRS:
        name, sizes = "t5", {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2}
        sizes |= {"num_heads": 4}
    fields = {"model": name, **vocabulary, "max_length": length, **extra, "config": sizes}
    return {**fields, "training": training}, why


def _tokens(words: float, *, most: int) -> int:
    """Return a limit in tokens for a number of words, with room for the special ones."""
    return min(most, max(16, 8 * math.ceil((1.8 * words + 4) / 8)))


def _metric(guess: Guess, facts: Facts) -> tuple[str, Literal["maximize", "minimize"]]:
    if guess.kind == LANGUAGE:
        return "bits_per_byte", "minimize"
    if guess.kind == PAIRS:
        return "rougeL", "maximize"
    if guess.kind == TEXT and guess.is_several:
        return "f1_micro", "maximize"
    if guess.settings.get("problem") == "regression":
        return "spearman", "maximize"
    if guess.kind not in (TEXT, IMAGES):
        return ("f1" if guess.settings.get("scheme") == "auto" else "accuracy"), "maximize"
    return ("f1_macro" if facts.is_skewed else "accuracy"), "maximize"


def _layers(machine: Machine, matter: Matter) -> tuple[int, int]:
    if machine.gpus:
        return (3, 6) if matter == "quality" else (1, 6)
    return (2, 4) if matter == "quality" else (1, 3)


def _space(guess: Guess, facts: Facts, layers: tuple[int, int] | None) -> dict[str, Range]:
    rows = facts.rows["train"]
    batches = [4, 8, 16] if rows < 300 else [8, 16, 32]
    low, high = 5e-5, 2e-3
    if guess.kind == IMAGES:
        low, high = 1e-4, 1e-2
    elif guess.kind in (LANGUAGE, PAIRS):
        low, high = 3e-4, 1e-2
    space: dict[str, Range] = {
        "learning_rate": {"type": "float", "low": low, "high": high, "log": True}
    }
    if guess.kind == LANGUAGE:
        space["weight_decay"] = {"type": "float", "low": 0.0, "high": 0.3}
    elif guess.kind == IMAGES:
        space["per_device_train_batch_size"] = {"type": "choice", "values": [16, 32, 64]}
        space["weight_decay"] = {"type": "float", "low": 0.0, "high": 0.1}
    elif guess.kind != PAIRS:
        space["per_device_train_batch_size"] = {"type": "choice", "values": batches}
        space["warmup_steps"] = {"type": "float", "low": 0.0, "high": 0.3}
    if layers:
        low_layers, high_layers = layers
        space["model.num_hidden_layers"] = {"type": "int", "low": low_layers, "high": high_layers}
    return space


def _rounded(rows: int) -> int:
    """Return a number of rows with two digits that count."""
    digits: int = 10 ** max(0, len(str(rows)) - 2)
    return rows // digits * digits
