"""The cache folder: assets are unpacked into it once, and checked whenever they are used.

An asset's folder appears whole or not at all, whatever is interrupted and however many processes
ask at once. Where an artefact comes from is not known here (download.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hpo_pipeline.data.assets.catalogue import ASSETS, CHECKED_ON_USE, Asset, Member
from hpo_pipeline.data.assets.download import download_artefact
from hpo_pipeline.errors import DataError

Download = Callable[[Asset, Path], None]
DRAFT = ".draft-"


def cache_folder() -> Path:
    """Return the folder that HPO_CACHE names, or the user's cache folder."""
    named = os.environ.get("HPO_CACHE")
    return Path(named).expanduser() if named else _users_folder()


def prepared_folder() -> Path:
    """Return the folder for prepared data sets: in the cache folder, if that can be written to.

    In the images of the trials HPO_CACHE names assets that are baked in and belong to root; data
    that a step of a pipeline prepares there go into the user's cache folder.
    """
    folder = cache_folder() / "datasets"
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return folder if os.access(nearest, os.W_OK) else _users_folder() / "datasets"


def _users_folder() -> Path:
    return Path.home() / ".cache" / "hpo-pipeline"


def is_fetched(asset: Asset, cache: Path) -> bool:
    """Return whether an asset needs no download."""
    return asset.is_built_in or asset.folder(cache).is_dir()


def fetch(
    name: str,
    *,
    cache: Path | None = None,
    download: Download = download_artefact,
    catalogue: Mapping[str, Asset] = ASSETS,
) -> Path:
    """Return the folder with the asset's files, downloaded if they are not there yet.

    Assets of the same artefact come with it. Files below 5 MB are hashed at every call, of
    larger ones the size is compared.

    Raises:
        DataError: the name is unknown, the download failed, or a file is not what it must be.
    """
    asset = _fetchable(name, catalogue)
    root = cache or cache_folder()
    if not is_fetched(asset, root):
        try:
            with _alone(root / "assets"):
                # Another process may have fetched it while this one waited.
                if not is_fetched(asset, root):
                    _fetch_artefact(asset, root, download, catalogue)
        except OSError as error:
            raise DataError(
                f"assets.{name}: the cache folder {root} must be writable, got: {error}; "
                f"HPO_CACHE names another"
            ) from error
    folder = asset.folder(root)
    _check(asset, folder, hash_below=CHECKED_ON_USE)
    return folder


def verify(
    name: str, *, cache: Path | None = None, catalogue: Mapping[str, Asset] = ASSETS
) -> None:
    """Hash every file of a fetched asset.

    Raises:
        DataError: the asset is not there, or a file is not what it must be.
    """
    asset = _fetchable(name, catalogue)
    folder = asset.folder(cache or cache_folder())
    if not folder.is_dir():
        raise DataError(f"assets.{name}: not fetched yet; run `hpo assets fetch {name}`")
    _check(asset, folder, hash_below=None)


def _fetchable(name: str, catalogue: Mapping[str, Asset]) -> Asset:
    if name not in catalogue:
        raise DataError(f"assets: no asset of this name, got {name!r}, have {', '.join(catalogue)}")
    if catalogue[name].is_built_in:
        raise DataError(f"assets.{name}: is built in ({catalogue[name].source}), nothing to fetch")
    return catalogue[name]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process, and clear what dead ones left."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(f"{DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _fetch_artefact(
    asset: Asset, root: Path, download: Download, catalogue: Mapping[str, Asset]
) -> None:
    """Download an artefact and unpack every asset that is in it."""
    with tempfile.TemporaryDirectory(dir=root / "assets", prefix=DRAFT) as draft:
        artefact = Path(draft) / asset.filename
        download(asset, artefact)
        _must_be(f"assets.{asset.name}: {asset.filename}", asset.sha256, _sha256(artefact))
        for sibling in catalogue.values():
            if sibling.sha256 == asset.sha256 and not is_fetched(sibling, root):
                unpacked = Path(draft) / sibling.name
                unpacked.mkdir()
                for member in sibling.members:
                    _unpack(sibling, member, artefact, unpacked / member.name)
                unpacked.rename(sibling.folder(root))


def _unpack(asset: Asset, member: Member, artefact: Path, target: Path) -> None:
    """Write one member to `target`: names inside the archive never become paths on disk."""
    try:
        with (
            artefact.open("rb") as stream,
            _member(stream, artefact.name, member.path) as content,
            target.open("wb") as copy,
        ):
            shutil.copyfileobj(content, copy)
            copy.flush()
            os.fsync(copy.fileno())
    except (KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(
            f"assets.{asset.name}: {artefact.name} must hold the file {member.path}, got: {error}"
        ) from error
    _must_be(f"assets.{asset.name}: {member.path}", member.sha256, _sha256(target))


@contextmanager
def _member(stream: IO[bytes], archive: str, path: str) -> Iterator[IO[bytes]]:
    """Open a file of an archive, or of an archive in it."""
    first, _, rest = path.partition("!")
    with _open(stream, archive, first) as content:
        if not rest:
            yield content
            return
        with _member(content, first, rest) as inner:
            yield inner


@contextmanager
def _open(stream: IO[bytes], archive: str, path: str) -> Iterator[IO[bytes]]:
    if archive.endswith((".whl", ".zip")):
        with zipfile.ZipFile(stream) as wheel, wheel.open(path) as content:
            yield content
        return
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        info = tar.getmember(path)
        # Not for links, which could lead to another member than the one named.
        extracted = tar.extractfile(info) if info.isfile() else None
        if extracted is None:
            raise KeyError(f"{path} is not a regular file")
        with extracted:
            yield extracted


def _check(asset: Asset, folder: Path, *, hash_below: int | None) -> None:
    again = f"remove {folder} and run `hpo assets fetch {asset.name}`"
    for member in asset.members:
        path = folder / member.name
        where = f"assets.{asset.name}: {path}"
        try:
            size = path.stat().st_size
            if size != member.size:
                raise DataError(f"{where}: must have {member.size} bytes, got {size}; {again}")
            if hash_below is None or size < hash_below:
                _must_be(where, member.sha256, _sha256(path), remedy=again)
        except OSError as error:
            raise DataError(f"{where}: must be readable, got: {error}; {again}") from error


def _must_be(where: str, expected: str, found: str, *, remedy: str = "nothing was kept") -> None:
    if found != expected:
        raise DataError(f"{where}: sha256 must be {expected}, got {found}; {remedy}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
