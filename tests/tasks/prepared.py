"""Prepared datasets made of rows in memory, and trials on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.prepared.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import DATASET_FILE, write_json
from hpo_pipeline.results.trial import Trial, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.command import TrialCommand

Columns = Mapping[str, Sequence[Any]]


def prepared(experiment: Experiment, splits: Mapping[str, Columns], folder: Path) -> Path:
    """Write the rows of each split (columns `input` and `label`) as the prepare stage does."""
    task, kind = experiment.task, TASKS[experiment.task.kind]
    inputs = [value for column in splits["train"].values() for value in column]
    processor = kind.processor(task, model_source(task.model), inputs, None)
    processor.save_pretrained(str(folder / PROCESSOR_FOLDER))
    for name, columns in splits.items():
        encoded = {**kind.encode(task, columns, processor, []), "input": columns["input"]}
        table = Dataset.from_dict(dict(columns) if name == "test" else encoded)
        table.save_to_disk(str(folder / name))
    rows = {name: len(columns["input"]) for name, columns in splits.items()}
    meta = DatasetMeta("0" * 64, task.kind, "memory", "", [], rows, 0, 128, None, [], {})
    write_json(folder / DATASET_FILE, asdict(meta))
    return folder


def trained(
    file: Path, splits: Mapping[str, Columns], folder: Path, assignments: Mapping[str, str]
) -> tuple[Trial, Path]:
    """Train one configuration of an experiment; return its result and the dataset."""
    dataset = prepared(load(file), splits, folder / "dataset")
    main(TrialCommand(file, dataset, folder / "trials", "t", 0, dict(assignments)).argv())
    trial = read_trial(folder / "trials/t")
    assert trial is not None
    return trial, dataset
