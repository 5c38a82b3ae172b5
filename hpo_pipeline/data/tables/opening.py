"""Files behind URIs: copied to this machine block by block, whatever fsspec opens them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hpo_pipeline.data.readers import source_file
from hpo_pipeline.errors import DataError

_BLOCK = 2**20
_SIGNS = "*?["


def shown_uri(uri: str) -> str:
    """Return a URI without the parts that may hold a password or a signature."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def copied(uris: list[str]) -> Iterator[list[tuple[str, Path]]]:
    """Copy the files of URIs here, patterns such as `s3://bucket/*.csv` included.

    Yields:
        names for messages and paths; the files are there until the end of the context.

    Raises:
        DataError: one cannot be opened, there is none, or it is too large.
    """
    with tempfile.TemporaryDirectory(prefix="hpo-data-") as folder:
        found: list[tuple[str, Path]] = []
        for uri in uris:
            for name, opened in _opened(uri):
                target = Path(folder) / str(len(found)) / Path(unquote(urlsplit(name).path)).name
                target.parent.mkdir()
                _copy(name, opened, target)
                found.append((name, target))
        yield found


def _opened(uri: str) -> list[tuple[str, Any]]:
    import fsspec

    try:
        files = fsspec.open_files(uri, "rb")
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"task.data: {shown_uri(uri)} cannot be read: {error}") from error
    path = urlsplit(uri).path
    if not files:
        raise DataError(f"task.data: no file matches {shown_uri(uri)}")
    if not any(sign in path for sign in _SIGNS):
        return [(shown_uri(uri), files[0])]
    scheme = urlsplit(uri).scheme
    return sorted((f"{scheme}://{str(file.path).lstrip('/')}", file) for file in files)


def _copy(name: str, opened: Any, target: Path) -> None:
    limit = source_file.MAX_BYTES
    size = 0
    try:
        with opened as source, target.open("wb") as copy:
            while block := source.read(_BLOCK):
                size += len(block)
                check_size(name, size, limit)
                copy.write(block)
    except (ImportError, ValueError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"task.data: {name} cannot be read: {reason}") from error


def check_size(name: str, size: int, limit: int | None = None) -> None:
    """Refuse a file that is too large.

    Raises:
        DataError: it is.
    """
    limit = source_file.MAX_BYTES if limit is None else limit
    if size > limit:
        raise DataError(
            f"task.data: {name} has {size:,} bytes, and {limit:,} are allowed; take a sample"
        )
