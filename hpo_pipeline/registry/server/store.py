"""The model files beside a registry that keeps records only: in a folder, or at a URI of fsspec.

    STORE/NAME/SHA256/…

The place follows from the content, so that storing a model twice changes nothing. A URI needs
the fsspec driver of its scheme (s3fs for s3://), which reads its credentials from the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.model_folders import alone, check_writable, place
from hpo_pipeline.registry.record import Candidate, folder_sha256, local_path


class Store:
    """A place for models. `public` is its URI for other readers, such as KServe."""

    def __init__(self, uri: str, public: str | None = None) -> None:
        self._uri = uri.rstrip("/")
        self._folder = _folder(uri)
        own = self._folder.absolute().as_uri() if self._folder else self._uri
        self._public = (public or own).rstrip("/")

    def check_writable(self) -> None:
        """Check that models can be stored, as far as possible without storing one.

        Raises:
            RegistryError: they cannot.
        """
        if self._folder:
            check_writable(self._folder)
        else:
            self._open()

    def put(self, candidate: Candidate, model_folder: Path) -> str:
        """Store all files of a model and return its public URI.

        Raises:
            RegistryError: it cannot be written, or is not the model that was measured.
        """
        name, sha256 = candidate.name, candidate.model_sha256
        if self._folder:
            with alone(self._folder / name):
                target = self._folder / name / sha256
                if not _is_whole(target, sha256):
                    place(model_folder, target, expected=sha256)
        else:
            self._upload(model_folder, f"{name}/{sha256}")
        return f"{self._public}/{name}/{sha256}"

    def get(self, candidate: Candidate, folder: Path) -> Path:
        """Return a folder with a model: the stored one, or a copy in `folder`.

        Raises:
            RegistryError: it cannot be read.
        """
        inner = f"{candidate.name}/{candidate.model_sha256}"
        if self._folder:
            return self._folder / inner
        system, root = self._open()
        target = folder / candidate.model_sha256
        try:
            system.get(f"{root}/{inner}/", f"{target}/", recursive=True)
        except OSError as error:
            raise RegistryError(f"{self._uri}/{inner}: cannot be read ({error})") from error
        return target

    def _upload(self, model_folder: Path, inner: str) -> None:
        system, root = self._open()
        try:
            for file in sorted(model_folder.rglob("*")):
                if file.is_file():
                    path = f"{root}/{inner}/{file.relative_to(model_folder).as_posix()}"
                    system.makedirs(path.rpartition("/")[0], exist_ok=True)
                    system.put_file(str(file), path)
        except OSError as error:
            raise RegistryError(f"{self._uri}: must be writable, got: {error}") from error

    def _open(self) -> tuple[Any, str]:
        try:
            import fsspec

            system, root = fsspec.core.url_to_fs(self._uri)
        except (ImportError, ValueError) as error:
            raise RegistryError(f"{self._uri}: cannot be opened ({error})") from error
        return system, str(root).rstrip("/")


def _folder(uri: str) -> Path | None:
    if "://" not in uri:
        return Path(uri).expanduser()
    return local_path(uri) if uri.startswith("file://") else None


def _is_whole(target: Path, sha256: str) -> bool:
    return target.is_dir() and folder_sha256(target) == sha256
