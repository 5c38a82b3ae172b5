"""Language models of film reviews against counts of tokens, over several seeds.

    python benchmarks/kinds/language.py [causal|masked] [--seeds 3]

causal  a small GPT-2 from scratch, in bits per byte; an interpolated bigram model
masked  MiniLM, in nats for each hidden token; the two neighbours of it, interpolated

Both count, or train on, the same tokens of the same 8 000 sentences. The weights of the baselines
are fitted on the validation rows (expectation-maximisation), where those of the models' settings
were chosen. A seed decides which rows are for training, validation and test, and how the model
starts.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from training import Split, splits_of, train, written
from transformers.utils import logging

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.generation.language_modeling import _masked

Ids = Sequence[int]
TASK = {"kind": "language-modeling", "data": "movie", "max_length": 64}
ROWS = {"train": 8000, "validation": 600, "test": 1000}
TRAINING = {"lr_scheduler_type": "cosine", "warmup_steps": 0.05}


@dataclass(frozen=True)
class Case:
    """A language model and how it is trained.

    Attributes:
        metric: less of it is better.
        task: fields of the section.
        learning_rate: one that was found by hand.
    """

    metric: str
    task: dict[str, Any]
    learning_rate: str
    epochs: int
    batch: int


CASES = {
    "causal": Case(
        "bits_per_byte",
        {
            "model": "gpt2",
            "from_scratch": True,
            "tokenizer": "bpe",
            "vocab_size": 2000,
            "packing": True,
            "config": {
                **{"n_embd": 128, "n_layer": 2, "n_head": 2, "n_positions": 64},
                **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
            },
        },
        learning_rate="3e-3",
        epochs=4,
        batch=4,
    ),
    "masked": Case(
        "loss",
        {"model": "minilm", "language_model": "masked"},
        learning_rate="3e-4",
        epochs=3,
        batch=16,
    ),
}


class Mixture:
    """The probability of a token as a mixture of relative frequencies, each for some context.

    The first context should be the longest; the last component is uniform.
    """

    def __init__(self, events: Sequence[tuple[int, tuple[Any, ...]]], vocabulary: int) -> None:
        self._uniform = 1 / vocabulary
        contexts = len(events[0][1])
        self._pairs = [Counter((token, seen[i]) for token, seen in events) for i in range(contexts)]
        self._seen = [Counter(seen[i] for _, seen in events) for i in range(contexts)]
        self._weights = np.full(contexts + 1, 1 / (contexts + 1))

    def _components(self, events: Sequence[tuple[int, tuple[Any, ...]]]) -> Any:
        return np.array(
            [
                [
                    *(
                        pairs[token, where] / max(1, counts[where])
                        for pairs, counts, where in zip(self._pairs, self._seen, seen, strict=True)
                    ),
                    self._uniform,
                ]
                for token, seen in events
            ]
        )

    def fit(self, events: Sequence[tuple[int, tuple[Any, ...]]]) -> None:
        """Find the weights under which these events are likeliest."""
        parts = self._components(events)
        for _ in range(100):
            shares = parts * self._weights
            self._weights = (shares / shares.sum(1, keepdims=True)).mean(0)

    def nats(self, events: Sequence[tuple[int, tuple[Any, ...]]]) -> float:
        """Return the negative log-likelihood of events."""
        return float(-np.log(self._components(events) @ self._weights).sum())


def following(rows: Sequence[Ids]) -> list[tuple[int, tuple[Any, ...]]]:
    """Return each token with the one before it, and with nothing."""
    return [(token, (before, None)) for row in rows for before, token in zip(row, row[1:])]  # noqa: B905, RUF007


def between(rows: Iterator[tuple[Ids, Ids]]) -> list[tuple[int, tuple[Any, ...]]]:
    """Return each token that is asked for (label >= 0) with its neighbours, as they are shown."""
    return [
        (label, ((ids[i - 1], ids[i + 1]), ids[i - 1], ("right", ids[i + 1]), None))
        for ids, labels in rows
        for i, label in enumerate(labels)
        if label >= 0
    ]


def whole(rows: Sequence[Ids], ends: tuple[Ids, Ids]) -> Iterator[tuple[Ids, Ids]]:
    """Yield rows in which each token is asked for."""
    for row in rows:
        before, after = ends
        hidden = [-1] * len(before), [-1] * len(after)
        yield [*before, *row, *after], [*hidden[0], *row, *hidden[1]]


def baseline(file: Path, splits: dict[str, Split], case: str) -> float:
    """Return what counting tokens reaches on the test rows: bits per byte, or nats per token."""
    task = load(file).task
    kind = TASKS[task.kind]
    tokenizer = kind.processor(task, model_source(task.model), splits["train"].inputs, None)
    rows = {n: kind.encode(task, {"input": s.inputs}, tokenizer, []) for n, s in splits.items()}
    ids = {name: encoded["input_ids"] for name, encoded in rows.items()}
    if case == "causal":
        events = {name: following(found) for name, found in ids.items()}
    else:
        ends = kind.collator(task, tokenizer, None).ends
        events = {"train": between(whole(ids["train"], ends))}
        for name in ("validation", "test"):
            columns = rows[name]
            listed = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values())]  # noqa: B905
            shown = _masked(listed, task.max_length, tokenizer)
            events[name] = between((row["input_ids"], row["labels"]) for row in shown)
    model = Mixture(events["train"], len(tokenizer))
    model.fit(events["validation"])
    nats = model.nats(events["test"])
    if case == "masked":
        return nats / len(events["test"])
    return nats / math.log(2) / sum(rows["test"]["bytes"])


def main() -> None:
    """Train and print."""
    logging.set_verbosity_error()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", help="instead of the case's own")
    parser.add_argument("--epochs", type=int, help="instead of the case's own")
    arguments = parser.parse_args()
    for name in arguments.cases or CASES:
        case, found = CASES[name], []
        training = {
            **TRAINING,
            "num_train_epochs": arguments.epochs or case.epochs,
            "per_device_train_batch_size": case.batch,
        }
        with tempfile.TemporaryDirectory() as place:
            for seed in range(arguments.seeds):
                rows = {**ROWS, "seed": seed}
                task = {**TASK, **case.task, "rows": rows, "training": training}
                file = written(task, (case.metric, "minimize"), Path(place) / f"{name}-{seed}.json")
                counted = baseline(file, splits_of(load(file)), name)
                values = {"learning_rate": arguments.learning_rate or case.learning_rate}
                trained = train(file, values, Path(place), seed)
                found.append((counted, trained.test[case.metric]))
                print(
                    f"{name} {seed}: {case.metric} {found[-1][1]:.4f} (validation "
                    f"{trained.validation[case.metric]:.4f}), baseline {counted:.4f}, "
                    f"{trained.seconds:.0f} s of CPU time",
                    flush=True,
                )
        means = [statistics.mean(column) for column in zip(*found, strict=True)]
        print(f"{name}: {case.metric} {means[1]:.4f}, baseline {means[0]:.4f}", flush=True)


if __name__ == "__main__":
    main()
