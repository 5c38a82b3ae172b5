"""The directory registry: the contract, races between processes, and interrupted ones."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import open_registry
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from tests.registry.contract import SPAWN, Add, RegistryContract, make_candidate, make_model

NAME = "tweets"


def die_when_asked_the_time(folder: Path, model: Path) -> None:
    """Register, and be killed between the copy of the folder and the row."""

    def kill() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    DirectoryRegistry(folder, now=kill).register(make_candidate(model, NAME, "a"), model)


class TestDirectory(RegistryContract):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "models"

    @pytest.fixture
    def uri(self, folder: Path) -> str:
        return str(folder)

    @pytest.fixture
    def name(self) -> str:
        return NAME

    @pytest.fixture
    def registry(self, folder: Path) -> DirectoryRegistry:
        return DirectoryRegistry(folder, now=lambda: "2026-01-01T00:00:00+00:00")

    def test_killed_between_folder_and_row(
        self, registry: DirectoryRegistry, folder: Path, model: Path
    ) -> None:
        process = SPAWN.Process(target=die_when_asked_the_time, args=(folder, model))
        process.start()
        process.join()
        assert (process.exitcode, folders(folder)) == (-signal.SIGKILL, ["1"])
        assert registry.names() == []
        other = make_model(folder.parent / "other", "of another trial")
        record = registry.register(make_candidate(other, NAME, "b"), other)
        assert (record.version, folders(folder)) == (1, ["1"])
        assert weights(folder, 1) == "of another trial"

    def test_killed_while_copying(self, folder: Path, add: Add) -> None:
        make_model(folder / NAME / ".draft", "half")
        add("a")
        assert sorted(p.name for p in (folder / NAME).iterdir()) == [".lock", "1"]

    def test_a_row_without_folder_is_mended_by_a_retry(
        self, registry: DirectoryRegistry, folder: Path, model: Path, add: Add
    ) -> None:
        add("a")
        shutil.rmtree(folder / NAME / "1")
        with pytest.raises(RegistryError, match="the version's model must be there"):
            registry.promote(NAME, 1, expected=None, reason="")
        add("a")
        assert (weights(folder, 1), len(registry.versions(NAME))) == ("weights", 1)

    def test_a_file_that_a_killed_process_left_empty(
        self, registry: DirectoryRegistry, folder: Path, add: Add
    ) -> None:
        folder.mkdir()
        (folder / "registry.sqlite").touch()
        assert registry.names() == []
        assert add("a")[0].version == 1

    def test_the_folder_may_be_moved(self, folder: Path, add: Add) -> None:
        add("a")
        moved = folder.rename(folder.parent / "with space")
        assert DirectoryRegistry(moved).get(NAME, 1).model_uri == (moved / NAME / "1").as_uri()

    def test_a_damaged_file(self, registry: DirectoryRegistry, folder: Path, add: Add) -> None:
        folder.mkdir()
        (folder / "registry.sqlite").write_text("not a database " * 100)
        with pytest.raises(RegistryError, match="damaged"):
            registry.names()
        with pytest.raises(RegistryError, match="damaged"):
            add("a")

    def test_a_file_of_a_later_version(self, registry: DirectoryRegistry, folder: Path) -> None:
        folder.mkdir()
        with closing(sqlite3.connect(folder / "registry.sqlite")) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(RegistryError, match="at most 1, got 99"):
            registry.names()

    def test_a_file_in_place_of_the_folder(self, folder: Path, model: Path) -> None:
        folder.write_text("")
        with pytest.raises(RegistryError, match="must be writable"):
            DirectoryRegistry(folder).register(make_candidate(model, NAME), model)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_folder_is_still_read(
        self, registry: DirectoryRegistry, folder: Path, add: Add
    ) -> None:
        add("a")
        for path in (folder / "registry.sqlite", folder / NAME, folder):
            path.chmod(0o555)
        assert registry.get(NAME, 1).version == 1
        with pytest.raises(RegistryError, match="writable"):
            add("b")
        with pytest.raises(RegistryError, match="writable"):
            registry.promote(NAME, 1, expected=None, reason="")


def folders(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / NAME).iterdir() if p.name != ".lock")


def weights(folder: Path, version: int) -> str:
    return (folder / NAME / str(version) / "nested" / "model.safetensors").read_text()


@pytest.mark.parametrize("uri", [str, Path.as_uri])
def test_a_folder_is_opened_by_path_or_uri(tmp_path: Path, uri: Callable[[Path], str]) -> None:
    folder, model = tmp_path / "my models", make_model(tmp_path / "model")
    open_registry(uri(folder)).register(make_candidate(model, NAME), model)
    assert folders(folder) == ["1"]


def test_without_uri_the_environment_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    for place in ("named", "models"):
        monkeypatch.setenv("HPO_REGISTRY", "named" if place == "named" else "")
        open_registry().register(make_candidate(model, NAME), model)
        assert folders(tmp_path / place) == ["1"]


@pytest.mark.parametrize("uri", ["s3://bucket/models", "file://server/models"])
def test_a_place_without_driver(uri: str) -> None:
    with pytest.raises(RegistryError, match=f"file://.*got '{uri}'"):
        open_registry(uri)
