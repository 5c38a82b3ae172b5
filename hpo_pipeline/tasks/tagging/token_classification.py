"""Token classification: a tag for each word, such as entities or parts of speech.

A word's tag is learnt and answered at its first token. Metrics count words and entities, never
tokens: a word that got no token, or that `task.max_length` cut off, is answered with O.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.classification.one_label import label_maps, label_names
from hpo_pipeline.tasks.inputs.text_inputs import TextKind
from hpo_pipeline.tasks.inputs.token_cutting import SPECIAL
from hpo_pipeline.tasks.kind import Batch, Collate, Evaluated, Form, Loaded, Metric, Settings, Shape
from hpo_pipeline.tasks.tagging import entities
from hpo_pipeline.tasks.tagging.word_tags import WordCollator, WordMetrics, evaluate
from hpo_pipeline.tasks.task_fields import TaskFields

_OF_WORDS: dict[str, Metric] = {
    "loss": Metric("mean cross-entropy of the words' first tokens", "lower"),
    "accuracy": Metric("share of words with the right tag", "higher"),
}
ENTITY_METRICS: dict[str, Metric] = {
    **_OF_WORDS,
    "precision": Metric("share of the answered entities that are right", "higher"),
    "recall": Metric("share of the entities that are found", "higher"),
    "f1": Metric("F1 of entities, whose words and type must all be right", "higher"),
    "f1_macro": Metric("F1 of entities, mean over their types", "higher"),
}
TAG_METRICS: dict[str, Metric] = {
    **_OF_WORDS,
    "f1_macro": Metric("F1 of words, mean over the tags", "higher"),
    "f1_weighted": Metric("F1 of words, mean over the tags by their words", "higher"),
}
_USAGE = """\
from transformers import pipeline

tag = pipeline("token-classification", model="path/to/this/folder"{options})
print(tag("Write a sentence here."))"""


class TokenClassificationSettings(Settings):
    """The fields of token classification.

    `scheme` is how tags mark entities; `auto` takes any of them, and `none` is for tags that mark
    no entities, such as parts of speech. With `label_all`, training teaches the tag at all tokens
    of a word, not only the first.
    """

    scheme: entities.SchemeName = "auto"
    label_all: bool = False


class TokenClassification(TextKind):
    """A tag for each word of a text."""

    Settings: ClassVar[type[Settings]] = TokenClassificationSettings
    exports: ClassVar[bool] = True
    measured_by: ClassVar[tuple[str, ...]] = ("sklearn.metrics", "scipy.sparse")

    def pipeline(self, task: TaskFields) -> str:
        """Return transformers' name of the pipeline."""
        return "token-classification"

    def usage(self, task: TaskFields) -> str:
        """Return Python lines that use the model."""
        joins = task.settings.scheme != "none"
        return _USAGE.format(options=', aggregation_strategy="simple"' if joins else "")

    def metrics(self, task: TaskFields) -> Mapping[str, Metric]:
        """Return the metrics of entities, or of tags that mark none."""
        return TAG_METRICS if task.settings.scheme == "none" else ENTITY_METRICS

    def row_metrics(self, task: TaskFields) -> frozenset[str]:
        """Return all of them."""
        return frozenset(self.metrics(task))

    def form(self, task: TaskFields) -> Form:
        """Return that a row has words and a tag for each."""
        return Form("words", "tags")

    def names(self, task: TaskFields, labels: Iterable[Any]) -> list[str]:
        """Return the tags in order, with those of the scheme that no training row has.

        Raises:
            DataError: a tag is not of the scheme, or there is one tag only.
        """
        tags = {tag for row in labels for tag in row}
        try:
            is_plain = task.settings.scheme == "none"
            names = (
                label_names(tags) if is_plain else entities.tag_names(tags, task.settings.scheme)
            )
        except ValueError as error:
            raise DataError(f"task.columns.label: {error}") from error
        if len(names) < 2:
            raise DataError(
                f"task.columns.label: the training rows have only the tag {names[0]!r}: there is "
                f"nothing to learn"
            )
        return names

    def processor(
        self, task: TaskFields, source: str, inputs: Sequence[Any], shape: Shape | None
    ) -> Any:
        """Return the tokenizer, which takes words one by one.

        Raises:
            DataError: there is none, or it cannot say which token belongs to which word.
        """
        tokenizer = super().processor(task, source, inputs, shape)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise DataError(
                f"task.model: the tokenizer of {source!r} does not say which token belongs to "
                f"which word; token-classification needs one with a tokenizer.json"
            )
        return (
            _with_spaces(tokenizer) if '"add_prefix_space":false' in backend.to_str() else tokenizer
        )

    def encode(
        self, task: TaskFields, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return token ids, the word of each token (-1 for none), and the tag of each word.

        Raises:
            DataError: words and tags differ in number, or tags are unknown or break the scheme.
        """
        encoded = processor(
            [list(words) for words in batch["input"]],
            is_split_into_words=True,
            truncation=True,
            max_length=task.max_length,
            return_attention_mask=False,
            split_special_tokens=True,
        )
        rows = range(len(batch["input"]))
        found = {key: encoded[key] for key in ("input_ids", "token_type_ids") if key in encoded}
        found["word_ids"] = [
            [SPECIAL if word is None else word for word in encoded.word_ids(i)] for i in rows
        ]
        number = {name: i for i, name in enumerate(names)}
        for words, tags in zip(batch["input"], batch["label"], strict=True):
            if fault := _row_fault(words, tags, number, task.settings.scheme):
                shown = " ".join(words)
                shown = shown if len(shown) <= 80 else f"{shown[:79]}…"
                raise DataError(f"task.columns.label: {fault}, in the row {shown!r}")
        found["tags"] = [[number[tag] for tag in tags] for tags in batch["label"]]
        if task.settings.label_all:
            inside = [
                number.get(f"I-{name[2:]}", i) if name[:2] == "B-" else i
                for i, name in enumerate(names)
            ]
            found["inside"] = [[inside[tag] for tag in row] for row in found["tags"]]
        return found

    def collator(self, task: TaskFields, processor: Any, shape: Shape | None) -> Collate:
        """Return the function that cuts and pads rows to a batch of tensors (rows x tokens)."""
        return WordCollator(processor, task.max_length)

    def model_class(self, task: TaskFields) -> Any:
        """Return transformers' auto class."""
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification

    def label_fields(self, task: TaskFields, names: Sequence[str]) -> dict[str, Any]:
        """Return the fields of the config that name the tags."""
        return label_maps(names)

    def trainer(self, task: TaskFields, **arguments: Any) -> Any:
        """Return a Trainer whose metrics see the words that no token stands for."""
        from hpo_pipeline.tasks.tagging.tagging_trainer import TaggingTrainer

        return TaggingTrainer(label_all=task.settings.label_all, **arguments)

    def compute_metrics(
        self, task: TaskFields, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]]:
        """Return the function that computes the metrics from the tags of the tokens."""
        return WordMetrics(names, task.settings.scheme, task.max_length, task.metrics)

    def reduced_logits(self, logits: Any, labels: Any) -> Any:
        """Return the likeliest tag of each token (rows x tokens)."""
        return super().reduced_logits(logits, labels).argmax(dim=-1)

    def evaluate(self, task: TaskFields, loaded: Loaded) -> Evaluated:
        """Return the metrics, and how many words of each tag got which tag."""
        return evaluate(
            loaded, WordMetrics(loaded.names, task.settings.scheme, task.max_length, task.metrics)
        )


def _row_fault(
    words: Sequence[str], tags: Sequence[str], known: Mapping[str, int], scheme: entities.SchemeName
) -> str | None:
    if len(words) != len(tags):
        return f"there are {len(words)} words and {len(tags)} tags"
    if fault := entities.row_fault(tags, scheme):
        return fault
    unknown = next((tag for tag in tags if tag not in known), None)
    return None if unknown is None else f"the tag {unknown!r} is in no training row"


def _with_spaces(tokenizer: Any) -> Any:
    """Return a tokenizer that reads each word as one after a blank, as in a text."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder, "tokenizer.json")
        text = file.read_text("utf-8")
        for sign in ('"add_prefix_space": false', '"add_prefix_space":false'):
            text = text.replace(sign, sign.replace("false", "true"))
        file.write_text(text, "utf-8")
        return AutoTokenizer.from_pretrained(folder, add_prefix_space=True)


KIND = TokenClassification()
