"""Which files of a folder hold which split, and which are passed over.

The names are those that the `datasets` library knows: `train.csv`, `dev.jsonl`, and parts such as
`train-00000-of-00002.parquet`. Two candidates for one split are an error, never a choice.
"""

from __future__ import annotations

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.data.assets import ASSETS
from hpo_pipeline.data.readers import SUFFIXES, data_suffix
from hpo_pipeline.data.tables.images import IMAGE_SUFFIXES
from hpo_pipeline.errors import DataError

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]{16})?")
_DOCUMENTS = (".md", ".rst", ".yaml", ".yml", ".py", ".ipynb", ".lock", ".gitattributes")
_LISTED = 6


@dataclass(frozen=True)
class SplitFiles:
    """The files of each split, in their order, and sentences on what was passed over."""

    files: dict[str, list[Path]]
    notes: tuple[str, ...] = ()


def split_of(name: str) -> str | None:
    """Return the split that the stem of a file or the name of a folder means."""
    lower = name.lower()
    return next((split for split, names in SPLIT_NAMES.items() if lower in names), None)


def split_files(folder: Path) -> SplitFiles:
    """Find the data files of a folder by split; a single file of any name is `train`.

    Raises:
        DataError: there are none, two for one split, or a part is missing.
    """
    visible = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.is_file()]
    data = [path for path in visible if data_suffix(path.name)]
    candidates: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in data:
        stem = _stem(path)
        part = _PART.fullmatch(stem)
        if split := split_of(part["stem"] if part else stem):
            group = f"{part['stem']}-*-of-{part['count']}{_suffix(path)}" if part else path.name
            candidates[split][group].append(path)
    files = {split: _only(folder, split, groups) for split, groups in candidates.items()}
    if not files and len(data) == 1:
        files = {"train": data}
    if "train" not in files:
        raise DataError(_no_training_rows(folder, data))
    used = {path for paths in files.values() for path in paths}
    passed = [p for p in visible if p not in used and p.suffix.lower() not in _DOCUMENTS]
    names = [path.name for path in passed if path.stem.upper() not in ("LICENSE", "README")]
    return SplitFiles({s: files[s] for s in SPLIT_NAMES if s in files}, passed_over(names))


def matching_files(pattern: str) -> list[Path]:
    """Find the data files that a pattern such as `reviews/*.csv` names, in the order of names.

    Raises:
        DataError: there are none.
    """
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    files = [path for path in found if path.is_file()]
    data = [path for path in files if data_suffix(path.name)]
    if not data:
        hint = f"; it matches {_names(files)}, which are no data files" if files else ""
        raise DataError(f"task.data: no file matches {pattern}{hint}")
    return data


def by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Sort files that are named one by one: those with the name of a split are of that split.

    Several files of one split are all read. Where no file has the name of the training rows, all
    of them are training rows.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        part = _PART.fullmatch(_stem(path))
        found[split_of(part["stem"] if part else _stem(path)) or ""].append(path)
    if "train" not in found or found.get(""):
        return {"train": list(files)}
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def image_files(folder: Path) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """Find LABEL/IMAGE below a folder, or SPLIT/LABEL/IMAGE, as files by split.

    Hidden files and folders count as not there: operating systems and editors leave them.

    Raises:
        DataError: there are no images, a label has none, or folders of splits hold images.
    """
    folders = _subfolders(folder)
    splits = {path: split for path in folders if (split := split_of(path.name))}
    has_splits = len(set(splits.values())) > 1 or (len(folders) == len(splits) == 1)
    if not has_splits:
        found, notes = _by_label(folder, folders)
        return {"train": found}, notes
    files: dict[str, list[Path]] = {}
    notes = passed_over([f"{path.name}/" for path in folders if path not in splits])
    for path, split in splits.items():
        labels = _subfolders(path)
        if not labels:
            raise DataError(
                f"task.data: {folder}: {path.name} is the name of a split, not of a label; put "
                f"its images into a folder for each label: {path.name}/LABEL/IMAGE"
            )
        if split in files:
            names = " and ".join(p.name for p in splits if splits[p] == split)
            raise DataError(f"task.data: {folder}: both {names} are the {split} images; keep one")
        files[split], more = _by_label(path, labels)
        notes += more
    if "train" not in files:
        raise DataError(f"task.data: {folder} has no folder train; it has {_names(splits)}")
    return files, notes


def passed_over(names: Sequence[str]) -> tuple[str, ...]:
    """Return the sentence on files that nothing was read from; none if there are none."""
    if not names:
        return ()
    shown = ", ".join(names[:_LISTED])
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return (f"Passed over: {shown}{more}.",)


def _by_label(folder: Path, labels: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    found: list[Path] = []
    others: Counter[str] = Counter()
    for label in labels:
        files = [p for p in sorted(label.iterdir()) if not p.name.startswith(".") and p.is_file()]
        images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        passed = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
        if passed and not images:
            kinds = ", ".join(sorted({path.suffix or path.name for path in passed})[:_LISTED])
            raise DataError(
                f"task.data: {label} has no image that can be read, only {kinds}; convert them "
                f"to one of {', '.join(IMAGE_SUFFIXES)}, or move the folder away"
            )
        found += images
        others.update(path.suffix or path.name for path in passed)
    if not found:
        raise DataError(
            f"task.data: {folder} has no LABEL/IMAGE files; put the images of each label into a "
            f"folder of its own, as one of {', '.join(IMAGE_SUFFIXES)}"
        )
    return found, passed_over([f"{count:,} {suffix}" for suffix, count in sorted(others.items())])


def _subfolders(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    ]


def _only(folder: Path, split: str, groups: dict[str, list[Path]]) -> list[Path]:
    if len(groups) > 1:
        raise DataError(
            f"task.data: {folder}: {' and '.join(sorted(groups))} could both be the {split} rows; "
            f"keep one, or name the file in task.data"
        )
    (files,) = groups.values()
    part = _PART.fullmatch(_stem(files[0]))
    if part and len(files) != int(part["count"]):
        raise DataError(
            f"task.data: {folder} has {len(files)} of the {int(part['count'])} parts of the "
            f"{split} rows; add the others"
        )
    return files


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(data_suffix(path.name))]


def _suffix(path: Path) -> str:
    return data_suffix(path.name)


def _no_training_rows(folder: Path, data: Sequence[Path]) -> str:
    found = _names(data) or "none"
    below = [
        path
        for path in _subfolders(folder)
        if any(data_suffix(file.name) for file in path.iterdir())
    ]
    hint = f"; there are some in {below[0].name}/, which task.data can name" if below else ""
    if folder.name in ASSETS:
        hint = f"; it hides the asset {folder.name}: rename the folder, or move the experiment"
    return (
        f"task.data: {folder} must hold train.*, validation.* and test.*, or one file of "
        f"{', '.join(SUFFIXES)}; found {found}{hint}"
    )


def _names(paths: Sequence[Path] | dict[Path, str]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
