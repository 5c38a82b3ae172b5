"""Record the learning curves of a grid of fine-tunings of a pretrained text encoder.

The last of MiniLM's six layers, its pooler and a new head are fine-tuned on tweets; what the lower
five layers make of each tweet is computed once, and only the first token, which alone reaches the
head, goes through the last layer. That computes the same as freezing the lower layers, at a small
part of the cost: 256 trainings of six epochs take about 20 minutes of processor time.

    python benchmarks/recorded/record_tweets.py [--part FILE] [--only N]

Rows are appended to the part file as trainings end, and a recording that was cut off continues
there; when all are done, the table `tweets.csv.gz` is written.
"""

from __future__ import annotations

import argparse
import copy
import csv
import gzip
import html
import itertools
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import AutoModel, AutoTokenizer

from hpo_pipeline.data.assets import ASSETS, fetch

TABLE = Path(__file__).parent / "tweets.csv.gz"
GRID: dict[str, tuple[Any, ...]] = {
    "learning_rate": (6e-5, 1.2e-4, 2.3e-4, 4.3e-4, 8.2e-4, 1.6e-3, 3e-3, 5.6e-3),
    "per_device_train_batch_size": (8, 16, 32, 64),
    "warmup_steps": (0.0, 0.2),
    "lr_scheduler_type": ("linear", "constant"),
    "model.hidden_dropout_prob": (0.0, 0.2),
}
HEADER = (*GRID, "evaluation", "training_step", "epoch", "accuracy", "loss", "train_seconds")
TRAIN, VALIDATION, EPOCHS, TOKENS = 256, 400, 6, 48
NEUTRAL = 0.5
"""Tweets rated closer to neutral than this, on a scale from -4 to 4, are left out."""
FROZEN = 5
"""Layers below the one that is trained."""


@dataclass(frozen=True)
class Rows:
    """What the frozen layers make of some tweets.

    `states` are rows x tokens x width, `mask` is true where there is a token, `labels` are 0 or 1.
    """

    states: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor

    def part(self, places: torch.Tensor) -> Rows:
        """Return some rows, cut to the longest of them."""
        mask = self.mask[places]
        longest = int(mask.sum(1).max())
        return Rows(self.states[places, :longest], mask[:, :longest], self.labels[places])


class LastLayer(nn.Module):
    """The last layer of an encoder for its first token, with pooler and head."""

    def __init__(self, encoder: Any, dropout: float) -> None:
        super().__init__()
        layer = copy.deepcopy(encoder.encoder.layer[FROZEN])
        self.attention, self.intermediate, self.output = (
            layer.attention,
            layer.intermediate,
            layer.output,
        )
        self.pooler = copy.deepcopy(encoder.pooler)
        self.head = nn.Linear(encoder.config.hidden_size, 2)
        nn.init.normal_(self.head.weight, std=encoder.config.initializer_range)
        nn.init.zeros_(self.head.bias)
        self.heads = encoder.config.num_attention_heads
        self.dropout = nn.Dropout(dropout)
        for module in (self.attention.output, self.output):
            module.dropout = nn.Dropout(dropout)

    def forward(self, rows: Rows) -> torch.Tensor:
        """Return two logits a row."""
        attend, first = self.attention.self, rows.states[:, :1]
        query, key, value = (
            self._by_head(project(states))
            for project, states in (
                (attend.query, first),
                (attend.key, rows.states),
                (attend.value, rows.states),
            )
        )
        found = scaled_dot_product_attention(
            query, key, value, attn_mask=rows.mask[:, None, None, :]
        )
        seen = self.attention.output(found.transpose(1, 2).flatten(2), first)
        top = self.output(self.intermediate(seen), seen)
        return self.head(self.dropout(self.pooler(top)))

    def _by_head(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(2, (self.heads, -1)).transpose(1, 2)


def tweets() -> list[tuple[str, int]]:
    """Return texts with 1 for a positive and 0 for a negative one, in an order of their own."""
    found = []
    file = fetch("tweets") / ASSETS["tweets"].members[0].name
    for line in filter(None, file.read_text("utf-8").splitlines()):
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= NEUTRAL:
            found.append((html.unescape(text), int(float(rating) > 0)))
    random.Random(0).shuffle(found)
    return found


def frozen_rows(encoder: Any, tokenizer: Any, given: list[tuple[str, int]]) -> Rows:
    """Return what the lower layers make of some tweets."""
    texts = [text for text, _ in given]
    words = tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    with torch.no_grad():
        states = encoder(**words, output_hidden_states=True).hidden_states[FROZEN]
    labels = torch.tensor([label for _, label in given])
    return Rows(states, words["attention_mask"].bool(), labels)


def rate(given: dict[str, Any], step: int, steps: int) -> float:
    """Return the share of the learning rate at a step, from 0, as transformers has it."""
    warm = math.ceil(steps * given["warmup_steps"])
    if step < warm:
        return step / warm
    if given["lr_scheduler_type"] == "constant":
        return 1.0
    return (steps - step) / max(1, steps - warm)


def trained(
    encoder: Any, given: dict[str, Any], train: Rows, validation: Rows
) -> Iterator[tuple[object, ...]]:
    """Train one configuration; yield what its table has for each epoch, time aside."""
    torch.manual_seed(0)
    model = LastLayer(encoder, given["model.hidden_dropout_prob"])
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=given["learning_rate"], weight_decay=0.0, fused=True
    )
    size = given["per_device_train_batch_size"]
    batches = math.ceil(TRAIN / size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate(given, step, EPOCHS * batches)
    )
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for places in torch.randperm(TRAIN).split(size):
            rows = train.part(places)
            cross_entropy(model(rows), rows.labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        accuracy, loss = measured(model.eval(), validation)
        yield epoch, epoch * batches, epoch, f"{accuracy:.6g}", f"{loss:.6g}"


@torch.no_grad()
def measured(model: LastLayer, rows: Rows) -> tuple[float, float]:
    """Return accuracy and loss."""
    order = rows.mask.sum(1).argsort()
    right = lost = 0.0
    for places in order.split(100):
        part = rows.part(places)
        logits = model(part)
        right += float((logits.argmax(1) == part.labels).sum())
        lost += float(cross_entropy(logits, part.labels, reduction="sum"))
    return right / len(order), lost / len(order)


def main() -> None:
    """Record what is not yet recorded, then write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=Path, default=Path("runs") / "recorded-tweets.csv")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of configurations, to try")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = fetch("minilm")
    rows = tweets()
    encoder = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    train = frozen_rows(encoder, tokenizer, rows[:TRAIN])
    validation = frozen_rows(encoder, tokenizer, rows[TRAIN : TRAIN + VALIDATION])
    every = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    options.part.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if options.part.exists():
        with options.part.open(newline="") as stream:
            lines = [line for line in csv.reader(stream) if len(line) == len(HEADER)]
        whole = [line for line in lines if line[len(GRID)] == str(EPOCHS)]
        done = {tuple(line[: len(GRID)]) for line in whole}
    for number in options.only or range(len(every)):
        given = every[number]
        key = tuple(str(value) for value in given.values())
        if key in done:
            continue
        start = time.process_time()
        points = list(trained(encoder, given, train, validation))
        spent = f"{time.process_time() - start:.3f}"
        with options.part.open("a", newline="") as stream:  # whole trainings only
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([*key, *point, spent] for point in points)
        print(number, *key, spent, [point[3] for point in points], flush=True)
    if not options.only:
        write(options.part)


def write(part: Path) -> None:
    """Write the table of all trainings."""
    text = ",".join(HEADER) + "\n" + part.read_text()
    TABLE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{TABLE}: {TABLE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
