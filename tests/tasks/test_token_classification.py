"""Words, their tokens and their tags."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Loaded, rows_of
from hpo_pipeline.tasks.tagging.word_tags import WordCollator, WordMetrics
from tests.toys import toy_experiment

KIND = TASKS["token-classification"]
NAMES = ["O", "B-X", "I-X"]
ODD = "\u200b"
"""A word of one character that the tokenizer leaves out."""


def task(**fields: Any) -> Any:
    content = {"kind": "token-classification", "model": "some/model", "data": "some/data"}
    sections = {"metric": "f1", "goal": "maximize"}
    if fields.get("scheme") == "none":
        sections["metric"] = "accuracy"
    return toy_experiment(task={**content, **fields}, objective=sections).task


@pytest.fixture
def tokenizer(pair_bert: Path) -> Any:
    return KIND.processor(task(), str(pair_bert), [], None)


def encoded(tokenizer: Any, rows: list[tuple[str, str]], **fields: Any) -> list[dict[str, Any]]:
    batch = {"input": [w.split(" ") for w, _ in rows], "label": [t.split() for _, t in rows]}
    return rows_of(KIND.encode(task(**fields), batch, tokenizer, NAMES))


def test_the_first_token_of_a_word_has_its_tag(tokenizer: Any) -> None:
    (row,) = encoded(tokenizer, [("a greatly sad day", "O B-X I-X O")])
    assert row["word_ids"] == [-1, 0, 1, 1, 2, 3, -1]  # great ##ly
    batch = WordCollator(tokenizer, 9)([row])
    assert batch["labels"].tolist() == [[-100, 0, 1, -100, 2, 0, -100]]


def test_all_tokens_of_a_word_can_have_its_tag(tokenizer: Any) -> None:
    (row,) = encoded(tokenizer, [("a greatly sad day", "O B-X I-X O")], label_all=True)
    batch = WordCollator(tokenizer, 9, label_all=True)([row])
    assert batch["labels"].tolist() == [[-100, 0, 1, 2, 2, 0, -100]]  # B-X goes on as I-X


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_are_padded_with_their_labels(tokenizer: Any, side: str) -> None:
    tokenizer.padding_side = side
    rows = encoded(tokenizer, [("a sad day", "O B-X O"), ("day", "B-X")])
    batch = WordCollator(tokenizer, 9)(rows)
    short = {"right": [-100, 1, -100, -100, -100], "left": [-100, -100, -100, 1, -100]}[side]
    assert batch["labels"].tolist() == [[-100, 0, 1, 0, -100], short]
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 5)


@pytest.mark.parametrize("length", range(4, 12))
def test_a_row_is_cut_as_the_tokenizer_cuts(tokenizer: Any, length: int) -> None:
    rows = [("a greatly sad day was very greatly", "O B-X I-X O O O O")]
    (whole,), (shorter,) = encoded(tokenizer, rows), encoded(tokenizer, rows, max_length=length)
    one, other = (WordCollator(tokenizer, length)([row]) for row in (whole, shorter))
    assert one["input_ids"].tolist() == other["input_ids"].tolist()
    assert one["labels"].tolist() == other["labels"].tolist()


def test_words_without_a_token_are_answered_with_o(tokenizer: Any) -> None:
    (row,) = encoded(tokenizer, [(f"{ODD} sad {ODD} day was", "B-X B-X I-X O O")])
    assert row["word_ids"] == [-1, 1, 3, 4, -1]
    metrics = WordMetrics(NAMES, "auto", 4, {}, rows=[row])  # "was" is cut off as well
    labels = np.array([[-100, 1, 0, -100]])
    found = metrics(SimpleNamespace(predictions=np.array([[0, 1, 0, 0]]), label_ids=labels))
    assert metrics.on_words(row, ["B-X", "O"]) == ["O", "B-X", "O", "O", "O"]
    assert found["accuracy"] == 3 / 5
    assert found["recall"] == found["precision"] == 0.0  # the entity is "sad ODD"


def test_a_byte_tokenizer_reads_words_as_after_a_blank(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<eos>"]
    )
    backend.train_from_iterator(["a sad day a sad day"], trainer)
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>").save_pretrained(tmp_path)
    GPT2Config(vocab_size=backend.get_vocab_size()).save_pretrained(tmp_path)
    found = KIND.processor(task(), str(tmp_path), [], None)
    (row,) = encoded(found, [("sad day", "O O")])
    assert found.convert_ids_to_tokens(row["input_ids"]) == ["Ġsad", "Ġday"]


@pytest.mark.parametrize(
    ("words", "tags", "fields", "reason"),
    [
        ("a sad day", "O O", {}, "there are 3 words and 2 tags, in the row 'a sad day'"),
        ("a sad day", "O I-X O", {"scheme": "IOB2"}, "'I-X' after 'O': in IOB2 .* row 'a sad day'"),
        ("a day", "O B-Y", {}, "the tag 'B-Y' is in no training row, in the row 'a day'"),
    ],
)
def test_rows_that_cannot_be_encoded(
    tokenizer: Any, words: str, tags: str, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        encoded(tokenizer, [(words, tags)], **fields)


@pytest.mark.parametrize(
    ("rows", "fields", "reason"),
    [
        ([["O", "O"]], {}, "only the tag 'O': there is nothing to learn"),
        ([["NN", "VB"]], {}, "'NN' marks no entity.*scheme: none"),
        ([["NN"]], {"scheme": "none"}, "only the tag 'NN'"),
        ([["E-X"]], {"scheme": "IOB2"}, "'E-X' is no tag of IOB2"),
    ],
)
def test_tags_that_teach_nothing(rows: Any, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=f"task.columns.label: .*{reason}"):
        KIND.names(task(**fields), rows)


class Known(torch.nn.Module):
    """A model that gives the token of each id the tag at that place."""

    device = torch.device("cpu")

    def __init__(self, tags: list[str], of_id: dict[int, str]) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_labels=len(tags), id2label=dict(enumerate(tags)))
        self._tags, self._of_id = tags, of_id

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        places = [[self._tags.index(self._of_id.get(int(i), "O")) for i in r] for r in input_ids]
        return SimpleNamespace(logits=torch.eye(len(self._tags))[torch.tensor(places)] * 4)


def test_a_champion_with_other_tags_is_measured(tokenizer: Any) -> None:
    rows = encoded(tokenizer, [("a sad day", "O B-X I-X"), ("nice day", "B-X O")])
    sad, nice = tokenizer.convert_tokens_to_ids(["sad", "nice"])
    model = Known(["O", "B-X", "B-Z"], {sad: "B-X", nice: "B-Z"})  # it knows no I-X
    collate = WordCollator(tokenizer, 9)
    found = KIND.evaluate(task(), Loaded(model, tokenizer, rows, collate, NAMES))
    assert found.labels == ("O", "B-X", "I-X", "B-Z")
    assert found.confusion == ((2, 0, 0, 0), (0, 1, 0, 1), (1, 0, 0, 0), (0, 0, 0, 0))
    assert found.metrics["accuracy"] == 3 / 5
    assert found.metrics["f1"] == 0.0  # "sad day" is an entity, "sad" alone is none
    right = np.log(np.exp(4) / (np.exp(4) + 2))
    wrong = np.log(1 / (np.exp(4) + 2))
    expected = -(3 * right + wrong + np.log(1e-7)) / 5
    assert found.metrics["loss"] == pytest.approx(expected, abs=1e-6)


def test_a_users_metric_gets_tags_by_row(tokenizer: Any) -> None:
    rows = encoded(tokenizer, [("a sad day", "O B-X I-X")])
    own = {"rows": f"{__name__}:rows_right"}
    metrics = WordMetrics(NAMES, "auto", 9, own, rows=rows)
    assert metrics.of_words([["O", "B-X", "I-X"]], [["O", "B-X", "I-X"]])["rows"] == 1.0


def rows_right(answers: list[list[str]], tags: list[list[str]]) -> float:
    """A user's metric: the share of rows with all tags right."""
    return sum(a == t for a, t in zip(answers, tags, strict=True)) / len(tags)
