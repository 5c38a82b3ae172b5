"""One dataset holds an encoding for each tokenizer that a search may choose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from datasets import load_from_disk

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.prepare_once import dataset_key
from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.data.prepared.variants import ENCODINGS_FOLDER, encoding_folder
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.trial.training.loading import load_data

RATE = "learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}"


@pytest.fixture
def other_model(tiny_bert: Path, tmp_path: Path) -> Path:
    """The tiny model with a tokenizer that numbers its words from the last to the first."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_bert, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    plain = [word for word in words if not word.startswith("[")]
    numbers = [words[word] for word in plain][::-1]
    words.update(zip(plain, numbers, strict=True))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def test_each_model_that_may_be_chosen_has_its_own_encoding(
    write_experiment, tiny_bert, other_model, tmp_path
) -> None:
    models = f"task.model: {{type: choice, values: [{tiny_bert}, {other_model}]}}"
    experiment = load(write_experiment(space=f"{{{RATE}, {models}}}"))
    dataset = prepare(experiment, tmp_path / "out")
    assert DatasetMeta.read(dataset).varied == ["model"]
    made = sorted(path.name for path in (dataset / ENCODINGS_FOLDER).iterdir())
    assert len(made) == 2
    tasks = [experiment.task.assigned({"task.model": str(m)}) for m in (tiny_bert, other_model)]
    one, two = (load_data(task, dataset) for task in tasks)
    assert one.train[0]["input_ids"] != two.train[0]["input_ids"]
    decoded = [data.processor.decode(data.train[0]["input_ids"]) for data in (one, two)]
    assert decoded[0] == decoded[1]
    assert [row["label"] for row in one.train] == [row["label"] for row in two.train]
    assert sorted(path.name for path in (dataset / ENCODINGS_FOLDER).iterdir()) == made
    assert not (dataset / "train").exists()
    assert load_from_disk(str(dataset / "test")).column_names == ["input", "label"]


def test_a_range_of_vocabularies_is_encoded_by_the_trial_that_needs_it(
    write_experiment, tmp_path
) -> None:
    size = "task.vocab_size: {type: int, low: 50, high: 90}"
    path = write_experiment(extra="from_scratch: true", space=f"{{{RATE}, {size}}}")
    experiment = load(path)
    dataset = prepare(experiment, tmp_path / "out")
    assert not (dataset / ENCODINGS_FOLDER).exists()
    task = experiment.task.assigned({"task.vocab_size": 50})
    folder = encoding_folder(dataset, task)
    before = (folder / "encoding.json").stat().st_mtime_ns
    assert encoding_folder(dataset, task) == folder
    assert (folder / "encoding.json").stat().st_mtime_ns == before
    assert len(load_data(task, dataset).processor) <= 50
    other = encoding_folder(dataset, experiment.task.assigned({"task.vocab_size": 60}))
    assert other != folder
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_what_is_chosen_from_decides_the_dataset(write_experiment, tiny_bert, other_model) -> None:
    one = f"task.model: {{type: choice, values: [{tiny_bert}]}}"
    two = f"task.model: {{type: choice, values: [{tiny_bert}, {other_model}]}}"
    keys = [dataset_key(load(write_experiment(space=f"{{{RATE}, {m}}}"))) for m in (one, two)]
    assert keys[0] != keys[1]


def test_without_a_choice_there_is_one_encoding_in_the_folder_itself(
    write_experiment, tmp_path
) -> None:
    experiment = load(write_experiment())
    dataset = prepare(experiment, tmp_path / "out")
    assert encoding_folder(dataset, experiment.task) == dataset
    assert sorted(path.name for path in dataset.iterdir()) == [
        "dataset.json", "processor", "test", "train", "validation",
    ]  # fmt: skip
