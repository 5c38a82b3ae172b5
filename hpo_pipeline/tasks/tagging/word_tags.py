"""From tokens back to words: batches with the tags of words, and metrics over whole words.

A row has `input_ids`, `word_ids` (the word of each token, -1 for none) and `tags` (of each word).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.inputs.token_cutting import IGNORED, SPECIAL, cut_words
from hpo_pipeline.tasks.kind import Evaluated, Loaded, Row
from hpo_pipeline.tasks.prediction import LEAST_PROBABILITY
from hpo_pipeline.tasks.row_metrics.words import MAX_COUNTS
from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.tagging.entities import (
    OUTSIDE,
    SchemeName,
    entity_counts,
    entity_scores,
)
from hpo_pipeline.tasks.user_metrics import measure_own

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Words = list[list[str]]


@dataclass(frozen=True)
class WordCollator:
    """Cuts and pads rows to a batch of tensors; `labels` has the tags at first tokens.

    Attributes:
        label_all: put the tag at all tokens of a word.
    """

    tokenizer: Any
    max_length: int
    label_all: bool = False

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return a batch (rows x tokens)."""
        import torch

        whole = [cut_words(row, self.max_length) for row in rows]
        columns = [n for n in ("input_ids", "token_type_ids") if n in whole[0]]
        batch = self.tokenizer.pad(
            [{name: row[name] for name in columns} for row in whole], return_tensors="pt"
        )
        width = batch["input_ids"].shape[1]
        labels = torch.full((len(whole), width), IGNORED)
        for i, row in enumerate(whole):
            own = torch.tensor(self._labels(row))
            if self.tokenizer.padding_side == "left":
                labels[i, width - len(own) :] = own
            else:
                labels[i, : len(own)] = own
        return {**batch, "labels": labels}

    def _labels(self, row: Row) -> list[int]:
        found, before = [], SPECIAL
        for word in row["word_ids"]:
            if word == SPECIAL or (word == before and not self.label_all):
                found.append(IGNORED)
            else:
                found.append(row["inside" if word == before else "tags"][word])
            before = word
        return found


@dataclass(frozen=True)
class WordMetrics:
    """Computes the metrics of a validation from the tags that a model gives to tokens.

    Attributes:
        names: the tags of the data in order.
        own: the user's metrics, name to `module:function`; a function gets the answers and the
            right tags, each a list of names for each row, and returns a number.
        rows: those that are measured, in their order; without them, words without a token are not
            known and not counted.
    """

    names: Sequence[str]
    scheme: SchemeName
    max_length: int
    own: Mapping[str, str]
    rows: Sequence[Row] | None = None

    def __call__(self, predicted: Any) -> dict[str, float]:
        """Return the metrics of an EvalPrediction: tags and labels (rows x tokens)."""
        import numpy as np

        answers, truth = [], []
        places = np.asarray(predicted.label_ids) != IGNORED
        for i, (found, right) in enumerate(
            zip(predicted.predictions, predicted.label_ids, strict=True)
        ):
            tags = [self.names[tag] for tag in found[places[i]]]
            if self.rows is None:
                answers.append(tags)
                truth.append([self.names[tag] for tag in right[places[i]]])
            else:
                answers.append(self.on_words(self.rows[i], tags))
                truth.append([self.names[tag] for tag in self.rows[i]["tags"]])
        return self.of_words(answers, truth)

    @property
    def missing(self) -> str:
        """The answer for a word without a token."""
        return "" if self.scheme == "none" else OUTSIDE

    def on_words(self, row: Row, tags: Iterable[str]) -> list[str]:
        """Return an answer for each word of a row, given those of the words that have a token."""
        cut = cut_words(row, self.max_length)["word_ids"]
        answered = dict(zip(dict.fromkeys(w for w in cut if w != SPECIAL), tags, strict=True))
        return [answered.get(word, self.missing) for word in range(len(row["tags"]))]

    def of_words(self, answers: Words, truth: Words) -> dict[str, float]:
        """Return the metrics of answers, without the loss."""
        flat = [tag for row in answers for tag in row]
        right = [tag for row in truth for tag in row]
        found = {"accuracy": sum(a == b for a, b in zip(flat, right, strict=True)) / len(right)}
        if self.scheme == "none":
            found |= _tag_scores(flat, right, self.names)
        else:
            found |= entity_scores(answers, truth)
        for name, target in self.own.items():
            found[name] = measure_own(name, target, answers, truth)
        return found


def evaluate(loaded: Loaded, metrics: WordMetrics) -> Evaluated:
    """Return the metrics of a finished model with its loss, and the tags of words by answers.

    The model's tags need not be those of the data. A word whose tag the model does not know is
    wrong, and so is an answer that the data do not know.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    import numpy as np
    import torch

    config = loaded.model.config
    known = [str(config.id2label[i]) for i in range(config.num_labels)]
    column = np.asarray([known.index(n) if n in known else -1 for n in metrics.names])
    answers, truth, losses = [], [], []
    with torch.inference_mode():
        for start in range(0, len(loaded.rows), loaded.batch):
            rows = list(loaded.rows[start : start + loaded.batch])
            batch = {k: v.to(loaded.model.device) for k, v in loaded.collate(rows).items()}
            labels = batch.pop("labels").cpu().numpy()
            logits = loaded.model(**batch).logits.double().log_softmax(dim=-1).cpu().numpy()
            for row, logs, right in zip(rows, logits, labels, strict=True):
                at = right != IGNORED
                wanted = column[right[at]]
                own = np.where(
                    wanted < 0, np.log(LEAST_PROBABILITY), logs[at][np.arange(at.sum()), wanted]
                )
                losses.append(own)
                tags = [known[i] for i in logs[at].argmax(axis=-1)]
                answers.append(metrics.on_words(row, tags))
                truth.append([metrics.names[tag] for tag in row["tags"]])
    loss = float(-np.concatenate(losses).mean())
    sums = RowSums("words", _row_counts(answers, truth, losses, metrics))
    names = [*metrics.names, *(name for name in known if name not in metrics.names)]
    counts = _confusion(answers, truth, names)
    found = {"loss": loss, **metrics.of_words(answers, truth)}
    return Evaluated(found, tuple(names), counts, sums)


def _row_counts(
    answers: Words, truth: Words, losses: Sequence[Array], metrics: WordMetrics
) -> dict[str, Array]:
    """Return what each row adds to the metrics: its words, its loss, its entities or tags."""
    import numpy as np

    pairs = list(zip(answers, truth, strict=True))
    columns = {
        "words": np.asarray([len(right) for _, right in pairs]),
        "right_words": np.asarray([sum(map(str.__eq__, *pair)) for pair in pairs]),
        "tokens": np.asarray([len(logs) for logs in losses]),
        "nats": np.asarray([-logs.sum() for logs in losses]),
    }
    if metrics.scheme == "none":
        counted = [tag_counts(*pair, metrics.names) for pair in pairs]
        names, prefix = list(metrics.names), "tags_"
    else:
        counted = [entity_counts(*pair) for pair in pairs]
        names = sorted({name for row in counted for counter in row for name in counter})
        prefix = ""
    if len(pairs) * len(names) > MAX_COUNTS:
        return columns
    for i, name in enumerate(("right", "answered", "wanted")):
        numbers = [[row[i][each] for each in names] for row in counted]
        columns[prefix + name] = np.asarray(numbers, dtype=np.int32).reshape(len(pairs), -1)
    return columns


def tag_counts(
    answer: Sequence[str], truth: Sequence[str], names: Sequence[str]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return how often a row has each tag right, answered and wanted."""
    known = set(names)
    right = Counter(a for a, b in zip(answer, truth, strict=True) if a == b)
    return right, Counter(a for a in answer if a in known), Counter(truth)


def _tag_scores(flat: list[str], right: list[str], names: Sequence[str]) -> dict[str, float]:
    from sklearn.metrics import f1_score

    return {
        f"f1_{mean}": float(
            f1_score(right, flat, labels=list(names), average=mean, zero_division=0.0)
        )
        for mean in ("macro", "weighted")
    }


def _confusion(answers: Words, truth: Words, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Count words by their tag and the answer; those without an answer are not in it."""
    place = {name: i for i, name in enumerate(names)}
    counts = [[0] * len(names) for _ in names]
    for row, right in zip(answers, truth, strict=True):
        for answer, tag in zip(row, right, strict=True):
            if answer in place:
                counts[place[tag]][place[answer]] += 1
    return tuple(map(tuple, counts))
