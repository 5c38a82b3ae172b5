"""Answers of model folders of every kind, to inputs of every form; the models know nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpo_pipeline.data.unlabelled import inputs_of_file, inputs_of_images, inputs_of_texts
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.inputs.image_scaling import ImageScaling
from hpo_pipeline.tasks.kind import Form
from hpo_pipeline.trial.answering.predictor import (
    Reading,
    form_of,
    image_shape,
    open_predictor,
    task_of,
)
from tests.drafting import datasets

TEXTS = ["great lovely food", "an awful and sad film with a day"]


@pytest.fixture
def headed(tiny_bert, tmp_path):
    """Return a function that puts another head on the tiny model, and returns its folder."""

    def build(name: str, **config) -> Path:
        import transformers

        folder = tmp_path / name
        shutil.copytree(tiny_bert, folder)
        (folder / "model.safetensors").unlink()
        found = transformers.BertConfig.from_pretrained(tiny_bert, **config)
        getattr(transformers, name)(found).save_pretrained(str(folder))
        return folder

    return build


def answered(folder: Path, texts=TEXTS, **reading):
    task = task_of(folder, Reading(**reading))
    return open_predictor(folder, task).predict(inputs_of_texts(texts, form_of(task)).values)


def test_one_label_has_a_probability(tiny_bert):
    for found in answered(tiny_bert):
        assert found["label"] in found["scores"]
        assert sum(found["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert found["score"] == max(found["scores"].values())


def test_answers_are_those_of_the_pipeline_of_transformers(tiny_bert):
    from transformers import pipeline

    classify = pipeline("text-classification", str(tiny_bert))
    for text, found in zip(TEXTS, answered(tiny_bert), strict=True):
        right = classify(text)[0]
        assert found["label"] == right["label"]
        assert found["score"] == pytest.approx(right["score"], abs=1e-4)


def test_several_labels_are_those_that_reach_the_threshold(headed):
    folder = headed(
        "BertForSequenceClassification", num_labels=3, problem_type="multi_label_classification"
    )
    assert all(len(found["labels"]) == 3 for found in answered(folder, threshold=0.01))
    assert all(found["labels"] == [] for found in answered(folder, threshold=0.99))


def test_a_number_is_a_value(headed):
    folder = headed("BertForSequenceClassification", num_labels=1, problem_type="regression")
    assert all(isinstance(found["value"], float) for found in answered(folder))


def test_every_word_gets_a_tag(headed):
    folder = headed("BertForTokenClassification", id2label={0: "O", 1: "B-X", 2: "I-X"})
    found = answered(folder)
    assert [len(row["tags"]) for row in found] == [3, 8]
    assert {tag for row in found for tag in row["tags"]} <= {"O", "B-X", "I-X"}


def test_a_pair_is_read_from_two_columns(tiny_bert, tmp_path):
    file = datasets.pairs(tmp_path)
    task = task_of(tiny_bert, Reading(("sentence1", "sentence2")))
    inputs = inputs_of_file(file, form_of(task), ("sentence1", "sentence2"))
    assert len(open_predictor(tiny_bert, task).predict(inputs.values)) == datasets.ROWS
    with pytest.raises(DataError, match="two texts a row; name a file"):
        inputs_of_texts(TEXTS, form_of(task))


def test_a_masked_model_fills_its_masks(headed):
    from transformers import AutoTokenizer

    folder = headed("BertForMaskedLM")
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    tokenizer.mask_token = "[UNK]"  # it has no other that it could spare
    tokenizer.save_pretrained(str(folder))
    found = answered(folder, ["a [UNK] film [UNK]"])
    assert len(found[0]["tokens"]) == len(found[0]["scores"]) == 2


def test_a_causal_model_continues_a_text(headed):
    folder = headed("BertLMHeadModel", is_decoder=True)
    found = answered(folder)
    assert all(isinstance(row["text"], str) for row in found)


def test_images_are_decoded_to_the_shape_of_the_model(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    folder = tmp_path / "vit"
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        num_labels=10,
    )
    ViTForImageClassification(config).save_pretrained(str(folder))
    ImageScaling(8, 8, (0.5,), (0.5,)).save_pretrained(str(folder))
    inputs = inputs_of_images(datasets.digits(tmp_path), image_shape(folder))
    found = open_predictor(folder, task_of(folder, Reading())).predict(inputs.values)
    assert len(found) == len(inputs.shown) == datasets.ROWS
    assert all(len(row["scores"]) == 10 for row in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "its model is none of"),
        ("not json", "has no config.json that can be read"),
        ('{"architectures": ["BertForMultipleChoice"]}', "BertForMultipleChoice is none of For"),
    ],
)
def test_a_folder_without_a_model_that_answers(content, message, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=message):
        task_of(tmp_path, Reading())


def test_a_row_without_an_input_is_named(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("text,id\ngood,1\n,2\n")
    with pytest.raises(DataError, match=r"a.csv, line 3: has no input; leave the row out"):
        inputs_of_file(file, Form("text", None), ())
