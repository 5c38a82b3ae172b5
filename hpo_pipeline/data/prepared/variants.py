"""The encodings of one dataset: one for each tokenizer that the trials of a search may have.

    DATASET/rows/{train,validation}     what every encoding is made of
    DATASET/encodings/KEY/{train,validation,processor}

Where nothing that decides the encoding is searched, there is only one, and it is in the dataset's
own folder. The encodings of choices are made when the data are prepared, those of ranges by the
first trial that needs them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.lock import made_once
from hpo_pipeline.data.prepared.arrow_folder import read_folder
from hpo_pipeline.data.prepared.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.data.prepared.encoding import Encoder, LengthCounts, encode
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers.arrow_files import ARROW_ERRORS
from hpo_pipeline.data.row_table import Part
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.schema import Experiment, bounds
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import write_json
from hpo_pipeline.tasks import TASKS

ROWS_FOLDER, ENCODINGS_FOLDER = "rows", "encodings"
FACTS_FILE = "encoding.json"
PREPARED = 16
"""Encodings that are made before a search; more choices are left to the trials."""


def varied_by(experiment: Experiment) -> list[str]:
    """Return the fields of the task that are searched and decide the encoding."""
    names = TASKS[experiment.task.kind].encoded_by
    return [name for name in names if f"task.{name}" in experiment.space]


def variants(experiment: Experiment) -> list[Task]:
    """Return the tasks whose encodings are made before the search; none where there are many."""
    names = varied_by(experiment)
    found = [experiment.space[f"task.{name}"] for name in names]
    values = [parameter.values if parameter.type == "choice" else () for parameter in found]
    chosen = list(itertools.product(*values))
    if not names or len(chosen) > PREPARED:
        return []
    return [
        experiment.task.assigned(
            {f"task.{name}": value for name, value in zip(names, one, strict=True)}
        )
        for one in chosen
    ]


def first_variant(experiment: Experiment) -> Task:
    """Return the task of one of the encodings that a search may have."""
    names = [f"task.{name}" for name in varied_by(experiment)]
    return experiment.task.assigned({name: bounds(experiment.space, name)[0] for name in names})


def trained_on(task: Task, train: Part) -> Sequence[Any]:
    """Return what a tokenizer is trained on: the inputs, and the labels where those are texts."""
    if not task.vocab_size or TASKS[task.kind].form(task).label != "text":
        return train["input"]
    return [*train["input"], *train["label"]]


def encoding_folder(dataset: Path, task: Task, progress: Progress | None = None) -> Path:
    """Return the folder with the rows and the processor of a trial's task; make it if need be.

    Args:
        task: with the trial's own values in it.

    Raises:
        DataError: the dataset cannot be read, or the tokenizer not be used.
    """
    meta = DatasetMeta.read(dataset)
    if not meta.varied:
        return dataset
    folder = dataset / ENCODINGS_FOLDER / variant_key(task, meta.varied)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")

    def found() -> Path | None:
        return folder if (folder / FACTS_FILE).is_file() else None

    def make() -> None:
        try:
            _make(dataset, task, meta, draft, progress or Progress())
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    try:
        folder.parent.mkdir(exist_ok=True)
        return made_once(found, make, folder.with_name(f".{folder.name}.lock"))
    except (OSError, *ARROW_ERRORS) as error:
        raise DataError(f"{folder}: the rows cannot be encoded there: {error}") from error


def variant_key(task: Task, names: Sequence[str]) -> str:
    """Return a name for the encoding of a task, by the fields that decide it."""
    text = json.dumps(_values(task, names), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def described(task: Task, names: Sequence[str]) -> str:
    """Return what distinguishes an encoding, for people."""
    values = _values(task, names)
    return ", ".join(f"{name} {Path(str(value)).name}" for name, value in values.items())


def _values(task: Task, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(task, name, getattr(task.settings, name, None)) for name in names}


def _make(dataset: Path, task: Task, meta: DatasetMeta, draft: Path, progress: Progress) -> None:
    kind = TASKS[task.kind]
    parts = {
        name: Part.whole(read_folder(dataset / ROWS_FOLDER / name))
        for name in ("train", "validation")
    }
    train = trained_on(task, parts["train"])
    processor = kind.processor(task, model_source(task.model), train, meta.image_shape)
    draft.mkdir(parents=True)
    encoder = Encoder(
        task.model_copy(update={"max_length": meta.max_length}), processor, meta.labels
    )
    progress.start("Encoding", sum(map(len, parts.values())))
    counted = LengthCounts()
    for name, part in parts.items():
        by_length = name == "validation"
        lengths = encode(part, encoder, draft / name, progress, by_length=by_length)
        counted += LengthCounts.of(lengths, meta.max_length, kind)
    if processor is not None:
        processor.save_pretrained(str(draft / PROCESSOR_FOLDER))
    values = {name: str(value) for name, value in _values(task, meta.varied).items()}
    facts = {"at_max_length": counted.full, "nothing_to_learn": counted.idle}
    write_json(draft / FACTS_FILE, {"values": values, **facts})
