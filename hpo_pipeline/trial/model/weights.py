"""The safetensors files of a model: names and shapes of its weights, without the weights.

Only headers are read, whatever the size of the files, and compared with what is on the disk.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from hpo_pipeline.errors import DataError

Shape = tuple[int, ...]

INDEX_FILE = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"
MAX_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""
_POINTER = b"version https://git-lfs"


def weight_shapes(source: str) -> dict[str, Shape] | None:
    """Return the shape of each weight of a model by its name, or None where it is not here.

    Args:
        source: a folder, or a hub id, whose files are looked for in the cache.

    Raises:
        DataError: there are no safetensors weights, or a file of them is not whole.
    """
    folder = Path(source) if Path(source).is_dir() else _cached(source)
    if folder is None:
        return None
    shapes: dict[str, Shape] = {}
    for file in _files(folder):
        shapes |= _shapes(file)
    return shapes


def _cached(source: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in (WEIGHTS_FILE, INDEX_FILE):
        found = try_to_load_from_cache(source, name)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).exists():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    if not index.exists():
        raise DataError(f"task.model: {folder} has no {WEIGHTS_FILE} weights{_others(folder)}")
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"task.model: {index} is not an index of weights: {error!r}") from error
    files = [folder / str(name) for name in sorted(map(str, names))]
    for file in files:
        if file.name != str(file.relative_to(folder)) or not file.exists():
            raise DataError(f"task.model: {index} names {file.name!r}, which is not in its folder")
    return files


def _others(folder: Path) -> str:
    """Say what to do with the weights that a folder has in other formats."""
    if others := sorted(p.name for p in folder.glob("*.safetensors")):
        return f", only {', '.join(others)}; rename it, or save the model anew"
    if any(folder.glob("*.bin")):
        return (
            "; *.bin files are pickles and are not opened: load the model once where you trust it "
            "and save it with save_pretrained, which writes safetensors"
        )
    return "; name a pretrained model, or set from_scratch: true"


def _shapes(file: Path) -> dict[str, Shape]:
    """Return the shapes in one file, whose size must be what its header says."""
    try:
        with file.open("rb") as stream:
            start = stream.read(max(8, len(_POINTER)))
            if start.startswith(_POINTER):
                raise DataError(
                    f"task.model: {file} is a pointer of Git LFS, not weights; "
                    f"run `git lfs pull` in its repository"
                )
            size = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else MAX_HEADER + 1
            if size > MAX_HEADER:
                raise DataError(f"task.model: {file} is not a safetensors file")
            stream.seek(8)
            header = json.loads(stream.read(size))
            header.pop("__metadata__", None)
            shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
            end = 8 + size + max((int(e["data_offsets"][1]) for e in header.values()), default=0)
        found = file.stat().st_size
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"task.model: {file} is not a safetensors file: {error!r}") from error
    if found != end:
        raise DataError(
            f"task.model: {file} is cut off or damaged: its header promises {end} bytes, it has "
            f"{found}; fetch it again"
        )
    return shapes
