"""The directory registry: the contract, races between processes, and interrupted ones."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hpo_pipeline.errors import ModelFilesError, RegistryError
from hpo_pipeline.registry import open_registry, preflight
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from tests.registry.contract import (
    PROCESSES,
    Add,
    Promote,
    RegistryContract,
    make_candidate,
    make_model,
)

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
        process = PROCESSES.Process(target=die_when_asked_the_time, args=(folder, model))
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
        with pytest.raises(RegistryError, match="the model of this version must be there"):
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

    def test_a_model_that_was_damaged_is_neither_fetched_nor_promoted(
        self, registry: DirectoryRegistry, folder: Path, model: Path, add: Add
    ) -> None:
        (record,) = add("a")
        (folder / NAME / "1" / "config.json").write_text("damage")
        for use in (
            lambda: registry.fetch(record, folder),
            lambda: registry.promote(NAME, 1, expected=None, reason=""),
        ):
            with pytest.raises(ModelFilesError, match=r"tweets/1: sha256 must be .* has changed"):
                use()
        assert add("a") == [record]
        assert registry.fetch(record, folder) == folder / NAME / "1"

    def test_a_champion_that_was_damaged_is_not_brought_back(
        self, registry: DirectoryRegistry, folder: Path, add: Add, promote: Promote
    ) -> None:
        add("a", "b")
        promote(1, 2)
        (folder / NAME / "1" / "config.json").unlink()
        with pytest.raises(ModelFilesError, match="tweets/1: sha256 must be"):
            registry.rollback(NAME)
        assert registry.get(NAME, "champion").version == 2

    @pytest.mark.parametrize(
        ("statement", "message"),
        [
            ("UPDATE versions SET candidate = '{}'", "tweets version 1: must hold a record"),
            ("UPDATE versions SET candidate = 'no JSON'", "tweets version 1: must hold a record"),
            ("UPDATE versions SET candidate = x'00'", "tweets version 1: must be a text"),
            ("UPDATE versions SET version = '../..'", r"a version must be .* got '\.\./\.\.'"),
            ("UPDATE versions SET version = -1", "a version must be a number from 1, got -1"),
            ("INSERT INTO models VALUES ('../up', '')", r"model name: must be .* '\.\./up'"),
            ("UPDATE history SET time = x'ff'", "tweets version 1: must be a text, got b"),
        ],
    )
    def test_rows_that_others_wrote(
        self, registry: DirectoryRegistry, folder: Path, add: Add, statement: str, message: str
    ) -> None:
        add("a")
        change(folder, statement)
        with pytest.raises(RegistryError, match=message):
            registry.versions(NAME), registry.history(NAME)

    def test_the_row_names_the_model_and_not_its_json(
        self, registry: DirectoryRegistry, folder: Path, add: Add
    ) -> None:
        add("a")
        change(
            folder, "UPDATE versions SET candidate = replace(candidate, '\"tweets\"', '\"other\"')"
        )
        change(folder, "INSERT INTO history VALUES (9, 'tweets', 1, 'of a later version', '', '')")
        assert registry.get(NAME, 1).name == NAME
        assert registry.fetch(registry.get(NAME, 1), folder) == folder / NAME / "1"
        assert [event.kind for event in registry.history(NAME)] == ["registered"]

    def test_a_full_disk_is_said_in_one_sentence(
        self, registry: DirectoryRegistry, folder: Path, model: Path, add: Add
    ) -> None:
        (model / "nested" / "model.safetensors").write_text("weights" * 1000)
        with (
            small_files(),
            pytest.raises(RegistryError, match=r"the disk is full .* run the same command") as said,
        ):
            add("a")
        assert "[(" not in str(said.value)
        assert sorted(p.name for p in (folder / NAME).iterdir()) == [".lock"]
        assert add("a")[0].version == 1

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


@contextmanager
def small_files() -> Iterator[None]:
    """Limit files to 2 000 bytes: writing more fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "registry.sqlite")) as connection, connection:
        connection.execute(statement)


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
    with pytest.raises(
        RegistryError, match=r"must be .*file:///PATH.* got '?(the scheme 's3'|file)"
    ):
        open_registry(uri)


def test_what_can_be_found_before_a_search(tmp_path: Path) -> None:
    preflight(str(tmp_path / "new" / "models"))
    preflight("~/models")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match="must be a folder that can be written"):
        preflight(str(tmp_path / "file" / "models"))
    (tmp_path / "registry.sqlite").write_text("not a database " * 100)
    with pytest.raises(RegistryError, match="is not a registry, or is damaged"):
        preflight(str(tmp_path))
    preflight(str(tmp_path), elsewhere=True)
    with pytest.raises(RegistryError, match="~nobody-of-this-name"):
        preflight("~nobody-of-this-name/models")
