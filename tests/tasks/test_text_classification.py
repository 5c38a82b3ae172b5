"""Tokenizers and texts; one label, several, or a number."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from hpo_pipeline.data import assets
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.inputs.text_inputs import tokenized
from hpo_pipeline.tasks.kind import Loaded, rows_of
from tests.toys import faults_of, toy_experiment

KIND = TASKS["text-classification"]


def test_the_name_of_a_special_token_in_a_text_is_text(tiny_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
    (row,) = tokenized(["great [SEP] film"], tokenizer, 12)["input_ids"]
    assert row.count(tokenizer.sep_token_id) == 1


def test_a_tokenizer_without_a_padding_token_gets_one(tiny_bert: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert), pad_token=None)
    tokenizer.save_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_bytes((tiny_bert / "config.json").read_bytes())
    found = KIND.processor(toy_experiment().task, str(tmp_path), [], None)
    assert found.pad_token_id == 0  # that of the config, not the unknown token


def test_an_architecture_gets_a_tokenizer_of_its_own() -> None:
    task = toy_experiment().task.model_copy(update={"from_scratch": True, "vocab_size": 60})
    texts = ["a great film", "a grim day"] * 9
    tokenizer = KIND.processor(task, "bert", texts, None)
    assert 10 < len(tokenizer) <= 60
    assert tokenizer.pad_token == "[PAD]"
    assert tokenizer.unk_token_id not in tokenizer("great day")["input_ids"]


def task(**fields: Any) -> Any:
    content = {"kind": "text-classification", "model": "some/model", "data": "some/data", **fields}
    return toy_experiment(task=content, objective={"metric": "loss", "goal": "minimize"}).task


@pytest.mark.parametrize("length", range(4, 16))
def test_a_pair_is_cut_as_the_tokenizer_cuts(pair_bert: Path, length: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(pair_bert))
    texts = ["a great film", "a greatly sad day was very nasty", "day"]
    pairs = [[one, other] for one in texts for other in texts]
    batch = {"input": pairs, "label": ["x"] * len(pairs)}
    settings = {"columns": {"input": ["one", "other"]}}
    for rows in (
        rows_of(KIND.encode(task(**settings, max_length=n), batch, tokenizer, ["x", "y"]))
        for n in (32, length)
    ):
        made = KIND.collator(task(**settings, max_length=length), tokenizer, None)(rows)
        expected = tokenizer(
            *zip(*pairs, strict=True), truncation=True, max_length=length, padding=True
        )
        assert made["input_ids"].tolist() == expected["input_ids"]
        assert made["token_type_ids"].tolist() == expected["token_type_ids"]


def test_several_labels_and_numbers_become_floats(pair_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(pair_bert))
    for problem, labels, expected in (
        ("multi_label", [["b"], []], [[0.0, 1.0], [0.0, 0.0]]),
        ("regression", [1.5, -2.0], [1.5, -2.0]),
    ):
        batch = {"input": ["a great film was very very very very nasty", "day"], "label": labels}
        one = task(problem=problem, max_length=8)
        rows = rows_of(KIND.encode(task(problem=problem), batch, tokenizer, ["a", "b"]))
        made = KIND.collator(one, tokenizer, None)(rows)
        assert made["labels"].tolist() == expected
        assert made["labels"].dtype == torch.float32
        assert made["input_ids"].shape == (2, 8)


@pytest.mark.parametrize(
    ("problem", "labels", "reason"),
    [
        ("regression", [2.0, 2.0], "all training rows have the number 2.0"),
        ("multi_label", [[], []], "have no label at all, and problem: multi_label needs two"),
        ("multi_label", [["a"], []], "have only the label 'a', and problem: multi_label needs two"),
    ],
)
def test_labels_that_teach_nothing(problem: str, labels: Any, reason: str) -> None:
    with pytest.raises(DataError, match=f"task.columns.label: .*{reason}"):
        KIND.names(task(problem=problem), labels)


def test_a_label_that_no_training_row_has(pair_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(pair_bert))
    batch = {"input": ["day"], "label": [["c"]]}
    with pytest.raises(DataError, match="'c' is in no training row, but in another one"):
        KIND.encode(task(problem="multi_label"), batch, tokenizer, ["a", "b"])


def test_a_threshold_is_for_several_labels(tmp_path: Path) -> None:
    found = faults_of(
        tmp_path,
        task="{kind: text-classification, model: some/model, data: some/data, threshold: 0.3}",
    )
    assert "threshold is for problem: multi_label, and it is single_label" in found[0]


class Fixed(torch.nn.Module):
    """A model whose logits are those of the rows, by their only token."""

    device = torch.device("cpu")

    def __init__(self, logits: list[list[float]], **config: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_labels=len(logits[0]), **config)
        self._logits = torch.tensor(logits)

    def forward(self, row: torch.Tensor, **_: Any) -> Any:
        return SimpleNamespace(logits=self._logits[row])


def measured(model: Fixed, labels: list[Any], names: list[str], problem: str) -> Any:
    rows = [{"row": i, "label": label} for i, label in enumerate(labels)]

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        return {"row": torch.tensor([row["row"] for row in batch])}

    return KIND.evaluate(task(problem=problem), Loaded(model, None, rows, collate, names))


def test_a_champion_with_other_labels_is_measured() -> None:
    # It knows b and z; the data have a and b.
    model = Fixed(
        [[2.0, -2.0], [-2.0, -2.0], [2.0, 2.0]],
        id2label={0: "b", 1: "z"},
        problem_type="multi_label_classification",
    )
    found = measured(model, [[0, 1], [1, 0], [0, 1]], ["a", "b"], "multi_label").metrics
    assert found["exact_match"] == pytest.approx(1 / 3)  # the first row alone
    assert found["f1_macro"] == pytest.approx((0 + 1) / 2)
    assert found["precision_micro"] == pytest.approx(2 / 3)  # z is a wrong answer
    assert found["recall_micro"] == pytest.approx(2 / 3)
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    never = math.log1p(1e-7 / (1 - 1e-7))
    losses = [never + 2 * right, -math.log(1e-7) + 2 * right, never + right + wrong]
    assert found["loss"] == pytest.approx(sum(losses) / 6)


def test_a_champion_of_one_label_is_measured_on_several() -> None:
    model = Fixed(
        [[3.0, 0.0], [0.0, 3.0]],
        id2label={0: "a", 1: "b"},
        problem_type="single_label_classification",
    )
    found = measured(model, [[1, 0], [1, 1]], ["a", "b"], "multi_label").metrics
    assert found["exact_match"] == 0.5
    share = math.exp(3) / (1 + math.exp(3))
    assert found["loss"] == pytest.approx(-(3 * math.log(share) + math.log(1 - share)) / 4)


def test_a_champion_of_classes_has_no_numbers() -> None:
    model = Fixed([[3.0, 0.0]], id2label={0: "a", 1: "b"}, problem_type=None)
    with pytest.raises(DataError, match="trained for 2 classes, and problem: regression"):
        measured(model, [1.0], [], "regression")
    one = Fixed([[3.0], [1.0]], id2label={0: "LABEL_0"}, problem_type="regression")
    found = measured(one, [2.0, 2.0], [], "regression").metrics
    assert found == {"loss": 1.0, "mse": 1.0, "rmse": 1.0, "mae": 1.0}


def test_an_asset_of_several_sources_gives_them_as_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (file, *_) in enumerate(assets.SOURCES.values()):
        (tmp_path / file).write_text(f"1\t0.1\tsentence {number}\n", "utf-8")
    monkeypatch.setattr(assets, "fetch", lambda name: tmp_path)
    found = read_tables(task(data="domains")).tables["train"]
    assert list(found["label"]) == ["tweets", "movie", "amazon", "news"]
    assert list(found["input"]) == [f"sentence {number}" for number in range(4)]
    with pytest.raises(DataError, match="the texts of domains have a class each, and no number"):
        read_tables(task(data="domains", problem="regression"))


def test_an_asset_gives_classes_or_ratings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = assets.ASSETS["tweets"].members[0].name
    (tmp_path / file).write_text(
        "1\t2.5\tgood &amp; bad\n2\t-0.1\tplain\n3\t-1.5\tawful\n", "utf-8"
    )
    monkeypatch.setattr(assets, "fetch", lambda name: tmp_path)
    classes = read_tables(task(data="tweets")).tables["train"]
    assert list(classes["input"]) == ["good & bad", "awful"]
    assert list(classes["label"]) == ["positive", "negative"]
    numbers = read_tables(task(data="tweets", problem="regression")).tables["train"]
    assert list(numbers["input"]) == ["good & bad", "plain", "awful"]
    assert list(numbers["label"]) == [2.5, -0.1, -1.5]
    with pytest.raises(DataError, match="the asset tweets has texts with a class or a number each"):
        read_tables(task(data="tweets", problem="multi_label"))
