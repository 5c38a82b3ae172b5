"""A driver of one file: a registry in memory, on the entries that server drivers share."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.record import Candidate
from hpo_pipeline.registry.server.driver import ServedRegistry
from hpo_pipeline.registry.server.ledger import Claim


class ToyStore:
    """An `EntryStore` in memory."""

    name = "toy"
    patience = 0.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, list[str]] = {}
        self._versions: dict[str, int] = {}

    def names(self) -> list[str]:
        return list(self._entries)

    def entries(self, model: str) -> list[str]:
        return self._entries.get(model, [])

    def append(self, model: str, number: int, entry: str) -> bool:
        found = self._entries.setdefault(model, [])
        if number != len(found) + 1:
            return False
        found.append(entry)
        return True

    def store(self, candidate: Candidate, folder: Path) -> str:
        return str(shutil.copytree(folder, self._folder / candidate.model_sha256))

    def discard(self, location: str) -> None:
        shutil.rmtree(location)

    def publish(self, claim: Claim) -> tuple[int, str]:
        return self._versions.setdefault(claim.location, len(self._versions) + 1), "toy"

    def tidy(self, claim: Claim, version: int) -> None:
        pass

    def point(self, model: str, champion: int | None, candidate: int | None) -> None:
        pass

    def has(self, model: str, version: int) -> bool:
        return version in self._versions.values()

    def download(self, claim: Claim, folder: Path) -> Path:
        return Path(claim.location)


class ToyDriver:
    """Opens `toy:///FOLDER`."""

    form = "toy:///FOLDER"

    def __init__(self) -> None:
        self._open: dict[str, ToyStore] = {}

    def open(self, uri: str, access: Access) -> ServedRegistry:
        folder = uri.removeprefix("toy://")
        return ServedRegistry(self._open.setdefault(uri, ToyStore(Path(folder))))

    def check(self, uri: str) -> None:
        if not uri.startswith("toy:///"):
            raise RegistryError(f"must be {self.form}, got {uri!r}")

    def preflight(self, uri: str, access: Access, *, elsewhere: bool) -> None:
        self.open(uri, access).names()
