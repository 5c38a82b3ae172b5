"""The first rows of data of any format, with all their columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.data.assets import ASSETS
from hpo_pipeline.data.readers import READERS, data_suffix, read_file
from hpo_pipeline.data.readers.source_file import SourceFile
from hpo_pipeline.data.tables.folders import by_split, image_files, matching_files, split_files
from hpo_pipeline.data.tables.hub import is_saved
from hpo_pipeline.data.tables.images import IMAGE_SUFFIXES
from hpo_pipeline.errors import DataError

SAMPLE_ROWS = 5_000


@dataclass(frozen=True)
class Sample:
    """What data hold, as far as their first rows show it.

    Attributes:
        data: as `task.data` names them; a path where there are files.
        columns: the values of each column, as the format has them.
        is_images: whether it is a folder with a folder of images for each label.
        is_plain_text: whether a row is a line of text, without columns.
    """

    data: str | Path
    columns: dict[str, list[Any]]
    is_images: bool = False
    is_plain_text: bool = False


def sample(data: str, rows: int = SAMPLE_ROWS) -> Sample:
    """Read the first rows of a file, a folder, a pattern or an asset.

    Raises:
        DataError: there are none that this package can read; the message says what to do.
    """
    if data in ASSETS and not Path(data).exists():
        if ASSETS[data].kind != "data":
            raise DataError(f"{data} is a model; name data, and give the model with --model")
        return Sample(data, {}, is_images=ASSETS[data].format == "digits")
    path = Path(data).expanduser()
    if path.is_dir() and _has_images(path):
        image_files(path)
        return Sample(path, {}, is_images=True)
    file = _first_file(path)
    raw = read_file(SourceFile(file, file.name), lambda names: names)
    names = list(raw.wanted)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for chunk in raw.chunks:
        for name, values in zip(names, chunk.columns, strict=True):
            columns[name].extend(values[: rows - len(columns[name])])
        if len(columns[names[0]]) >= rows:
            break
    if not names or not columns[names[0]]:
        raise DataError(f"{data}: has no rows; name a file with a row for each example")
    return Sample(path, columns, is_plain_text=".txt" in data_suffix(file.name))


def candidates(folder: Path) -> list[str]:
    """Return the data files of a folder, and its folders of images, by name."""
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path.name for path in found if path.is_file() and _is_table(path.name)]
    return files + [path.name for path in found if path.is_dir() and _has_images(path)]


def _is_table(name: str) -> bool:
    return data_suffix(name) not in ("", ".txt") and not name.endswith("package.json")


def _first_file(path: Path) -> Path:
    """Return the file whose rows are looked at: of a folder or pattern, that of the training."""
    if path.is_dir():
        if is_saved(path):
            raise DataError(
                f"{path}: is a data set that `save_to_disk` wrote, whose columns are not guessed; "
                f"write task.data and task.columns as docs/own-data.md shows"
            )
        return split_files(path).files["train"][0]
    if not path.exists() and any(sign in str(path) for sign in "*?["):
        return by_split(matching_files(str(path)))["train"][0]
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file, folder or asset; `hpo assets` lists the assets, and a "
            f"data set of the hub is named in the file as task.data (docs/own-data.md)"
        )
    if not data_suffix(path.name):
        raise DataError(
            f"{path}: is no table that can be read here; save it as one of {', '.join(READERS)}, "
            f"or name a folder with a folder of images for each label"
        )
    return path


def _has_images(folder: Path) -> bool:
    """Return whether there are images one or two folders below."""
    return any(
        path.suffix.lower() in IMAGE_SUFFIXES
        for pattern in ("*/*", "*/*/*")
        for path in folder.glob(pattern)
    )
