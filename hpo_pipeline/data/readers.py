"""Reading data: from an asset, a file, a directory or the hub, to tables of input and label.

The first half of the prepare stage. It knows file formats and columns; what becomes of the rows
(splits.py, prepare.py) it does not know. A table is a pandas frame with the columns `input` (text,
or the bytes of an image) and `label` (text).
"""

from __future__ import annotations

import hashlib
import html
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hpo_pipeline.data import assets
from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.images import IMAGE_SUFFIXES, decode_images
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "validation", "test")
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")
INPUT_NAMES = ("text", "sentence", "input", "image", "pixels")
DIGITS = "digits"
RATING_THRESHOLD = 0.5
"""Sentences rated closer to neutral than this on the scale from -4 to 4 are left out."""


@dataclass(frozen=True)
class Tables:
    """Tables by split name (`train` alone where the data have no splits) and their source."""

    source: str
    sha256: str
    tables: dict[str, pd.DataFrame]
    shape: tuple[int, int, int] | None = None
    notes: dict[str, int] = field(default_factory=dict)


def read_tables(task: Task) -> Tables:
    """Read the data of a task, as its kind wants them read.

    Raises:
        DataError: there are no such data, they are of another form, or they lack a column.
    """
    found: Tables = TASKS[task.kind].inputs.read(task, Source(task))
    return found


@dataclass(frozen=True)
class Source:
    """The ways to read `task.data` that a kind of task chooses from (tasks.kind.DataSource)."""

    task: Task

    def rows(self) -> Tables:
        """Read a text column and a label column."""
        return _read_rows(self.task)

    def images(self, *, size: tuple[int, int] | None, channels: int | None) -> Tables:
        """Read a folder of images for each label."""
        return _read_images(self.task)

    def model(self) -> str:
        """Return the folder or hub id of the base model."""
        return model_source(self.task.model)


def _read_images(task: Task) -> Tables:
    if task.data == DIGITS:
        return _read_digits()
    folder = Path(task.data)
    if not folder.is_dir():
        raise DataError(
            f"task.data: {task.kind} reads a folder with a folder of images for each label, "
            f"or the asset {DIGITS}; {task.data!r} is neither"
        )
    return _read_image_folders(task, folder)


def _read_rows(task: Task) -> Tables:
    if task.data in assets.ASSETS:
        return _read_asset(task)
    if "://" in task.data:
        content = _read_uri(task.data)
        return _from_files(task, {"train": (task.data, content)})
    path = Path(task.data)
    if path.is_file():
        return _from_files(task, {"train": (str(path), path.read_bytes())})
    if path.is_dir():
        return _read_directory(task, path)
    if path.is_absolute():
        raise DataError(f"task.data: there is no file or directory {path}")
    return _read_hub(task)


def _read_asset(task: Task) -> Tables:
    asset = assets.ASSETS[task.data]
    if asset.kind != "data":
        raise DataError(f"task.data: {task.data} is a model, not data")
    if task.data == DIGITS:
        raise DataError(f"task.data: {task.data} holds images, which {task.kind} does not read")
    folder = assets.fetch(task.data)
    path = folder / asset.members[0].name
    rows = [line.split("\t", 2) for line in path.read_text("utf-8").splitlines() if line]
    rated = [(float(rating), html.unescape(text).strip()) for _, rating, text in rows]
    kept = [(text, rating) for rating, text in rated if abs(rating) >= RATING_THRESHOLD]
    table = pd.DataFrame(
        {
            "input": [text for text, _ in kept],
            "label": ["positive" if rating > 0 else "negative" for _, rating in kept],
        }
    )
    notes = {"neutral rows left out": len(rated) - len(kept)}
    return Tables(f"asset {task.data}", asset.members[0].sha256, {"train": table}, notes=notes)


def _read_digits() -> Tables:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pixels = (bunch.images * 255 / 16).round().astype("uint8")
    table = pd.DataFrame(
        {
            "input": [image.tobytes() for image in pixels],
            "label": [str(label) for label in bunch.target],
        }
    )
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return Tables("scikit-learn digits", digest, {"train": table}, shape=(8, 8, 1))


def _read_uri(uri: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(uri, "rb") as stream:
            content: bytes = stream.read()
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"task.data: {uri} cannot be read: {error}") from error
    return content


def _read_directory(task: Task, folder: Path) -> Tables:
    """Read train.*, validation.* and test.*, or the only data file."""
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)
    by_split = {split: p for split in SPLITS for p in files if p.stem == split}
    if "train" not in by_split:
        if len(files) != 1:
            found = ", ".join(p.name for p in files) or "none"
            raise DataError(
                f"task.data: {folder} must hold train.*, validation.* and test.*, or one file of "
                f"{', '.join(SUFFIXES)}; found {found}"
            )
        by_split = {"train": files[0]}
    return _from_files(task, {s: (str(p), p.read_bytes()) for s, p in by_split.items()})


def _from_files(task: Task, files: dict[str, tuple[str, bytes]]) -> Tables:
    digest = hashlib.sha256(b"".join(hashlib.sha256(c).digest() for _, c in files.values()))
    frames = {split: _parse(name, content) for split, (name, content) in files.items()}
    tables = {split: _columns(task, frame, files[split][0]) for split, frame in frames.items()}
    dropped = sum(len(frames[s]) - len(tables[s]) for s in frames)
    source = ", ".join(name for name, _ in files.values())
    notes = {"rows without input or label left out": dropped}
    return Tables(source, digest.hexdigest(), tables, notes=notes)


def _parse(name: str, content: bytes) -> pd.DataFrame:
    stream = io.BytesIO(content)
    try:
        match Path(name).suffix:
            case ".csv":
                # As text: "None" and "NA" are words, "01" is not 1.
                return pd.read_csv(stream, dtype=str, keep_default_na=False, na_values=[""])
            case ".json" | ".jsonl":
                return pd.DataFrame(_json_rows(content.decode("utf-8-sig")))
            case ".parquet":
                return pd.read_parquet(stream)
            case suffix:
                raise DataError(f"task.data: {name}: {suffix!r} is none of {', '.join(SUFFIXES)}")
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"task.data: {name} cannot be read: {error}") from error


def _json_rows(text: str) -> list[dict[str, Any]]:
    """Read a list of objects, or one object a line; pandas would turn texts into dates."""
    if text.lstrip().startswith("["):
        rows: list[dict[str, Any]] = json.loads(text)
    else:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("it must hold a list of objects, or one object a line")
    return rows


def _columns(task: Task, frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the columns input and label, without rows that lack one of them."""
    found = ", ".join(map(str, frame.columns))
    wanted = task.columns.input
    if wanted is None:
        wanted = next((name for name in INPUT_NAMES if name in frame.columns), INPUT_NAMES[0])
    for key, name in (("input", wanted), ("label", task.columns.label)):
        if name not in frame.columns:
            raise DataError(f"task.columns.{key}: {source} has no column {name!r}; it has {found}")
    both = frame[[wanted, task.columns.label]].set_axis(["input", "label"], axis=1)
    both = both[both["input"].notna() & both["label"].notna()]
    if len(both) and not both["input"].map(lambda value: isinstance(value, str)).all():
        raise DataError(f"task.columns.input: column {wanted!r} of {source} is not text")
    labels = [_label(value) for value in both["label"]]
    both = both.assign(label=labels)
    return both[both["input"].str.strip() != ""].reset_index(drop=True)


def _label(value: object) -> str:
    # A missing label makes pandas read whole numbers as floats: 1.0 means the label 1.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_image_folders(task: Task, folder: Path) -> Tables:
    files = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"task.data: {folder} has no LABEL/IMAGE files")
    images = decode_images(files, task)
    table = pd.DataFrame({"input": images.pixels, "label": [p.parent.name for p in files]})
    digest = hashlib.sha256(b"".join(images.pixels) + "\0".join(table["label"]).encode())
    return Tables(str(folder), digest.hexdigest(), {"train": table}, shape=images.shape)


def _read_hub(task: Task) -> Tables:
    import datasets

    try:
        found: Any = datasets.load_dataset(task.data)
    except (OSError, ValueError, RuntimeError) as error:
        known = ", ".join(n for n, a in assets.ASSETS.items() if a.kind == "data")
        raise DataError(
            f"task.data: {task.data!r} is no asset ({known}), no file or directory, and could not "
            f"be loaded from the hub: {_first_line(error)}"
        ) from error
    tables = {
        split: _columns(task, _with_label_names(found[split], task.columns.label), task.data)
        for split in SPLITS
        if split in found
    }
    if "train" not in tables:
        raise DataError(f"task.data: {task.data} has no split train; it has {', '.join(found)}")
    rows = "".join(table.to_csv(index=False) for table in tables.values())
    return Tables(f"hub {task.data}", hashlib.sha256(rows.encode()).hexdigest(), tables)


def _with_label_names(split: datasets.Dataset, column: str) -> pd.DataFrame:
    frame: pd.DataFrame = split.to_pandas()
    names = getattr(split.features.get(column), "names", None)
    if names:
        frame[column] = [names[value] if value >= 0 else None for value in frame[column]]
    return frame


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
