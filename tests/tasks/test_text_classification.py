"""Tokenizers and texts."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.text_inputs import tokenized
from tests.toys import toy_experiment

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
