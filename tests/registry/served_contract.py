"""What the drivers of servers do beyond the contract: mend what a crash left, outlast a restart."""

from __future__ import annotations

import multiprocessing.pool
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import Stage, folder_sha256
from hpo_pipeline.registry.server.driver import EntryStore, ServedRegistry
from tests.registry.contract import Add, RegistryContract, make_candidate, make_model
from tests.registry.fake_server import FakeServer

WRITES = ("store", "append", "publish", "tidy", "point")


class Killed(BaseException):
    """What stands for a kill."""


class Dying:
    """A place whose process dies before or after its n-th call of a method."""

    def __init__(self, place: EntryStore, method: str, *, at: int, after: bool) -> None:
        self._place, self._method, self._left, self._after = place, method, at, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._place, name)
        return found if name != self._method else lambda *given: self._dying(found, *given)

    def _dying(self, found: Any, *given: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        result = found(*given)
        if self._left == 0:
            raise Killed
        return result


class ServedContract(RegistryContract):
    """Scenarios on a fake server; `place` is the door to it, without patience for the dead."""

    many: ClassVar[int] = 12
    # Importing a client takes seconds; threads race as well where nothing is shared but the server.
    workers = staticmethod(multiprocessing.pool.ThreadPool)

    @pytest.fixture
    def fake(self) -> FakeServer:
        raise NotImplementedError

    @pytest.fixture
    def address(self, fake: FakeServer) -> Iterator[str]:
        raise NotImplementedError

    @pytest.fixture
    def place(self, address: str, tmp_path: Path) -> EntryStore:
        raise NotImplementedError

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize(("method", "at"), [*((method, 1) for method in WRITES), ("append", 2)])
    def test_killed_while_registering(
        self,
        fake: FakeServer,
        place: EntryStore,
        model: Path,
        name: str,
        method: str,
        at: int,
        after: bool,
    ) -> None:
        candidate = make_candidate(model, name, "a")
        dying = ServedRegistry(Dying(place, method, at=at, after=after))
        with pytest.raises(Killed):
            dying.register(candidate, model)
        registry = ServedRegistry(place)
        assert registry.register(candidate, model).version == 1
        assert len(registry.versions(name)) == len(registry.history(name)) == 1
        self.check_aliases(place, name, None, 1)
        assert self.shown(fake, name) == 1

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("method", ["append", "point"])
    def test_killed_while_promoting(
        self, place: EntryStore, add: Add, name: str, method: str, after: bool
    ) -> None:
        add("a", "b")
        dying = ServedRegistry(Dying(place, method, at=1, after=after))
        with pytest.raises(Killed):
            dying.promote(name, 1, expected=None, reason="once")
        registry = ServedRegistry(place)
        assert registry.promote(name, 1, expected=None, reason="once")
        assert [e.reason for e in registry.history(name)][2:] == ["once"]
        self.check_aliases(place, name, 1, 2)

    def test_the_server_is_busy_for_a_while(
        self, fake: FakeServer, place: EntryStore, model: Path, name: str
    ) -> None:
        fake.busy = 2
        record = ServedRegistry(place).register(make_candidate(model, name), model)
        assert (record.version, fake.busy) == (1, 0)

    def test_a_server_that_stays_down_is_named(
        self, fake: FakeServer, place: EntryStore, model: Path, name: str
    ) -> None:
        fake.busy = 100
        registry = ServedRegistry(place)
        with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:.*can be reached.*try again"):
            registry.register(make_candidate(model, name), model)
        fake.busy = 0
        assert registry.register(make_candidate(model, name), model).version == 1

    def test_a_version_that_was_deleted_on_the_server_is_not_promoted(
        self, place: EntryStore, add: Add, name: str
    ) -> None:
        add("a")

        class Emptied(Dying):
            def has(self, model: str, version: int) -> bool:
                return False

        emptied = ServedRegistry(Emptied(place, "", at=1, after=False))
        with pytest.raises(RegistryError, match="version 1 must be there, got none"):
            emptied.promote(name, 1, expected=None, reason="")

    def test_another_model_of_the_same_key(
        self, place: EntryStore, model: Path, name: str, tmp_path: Path
    ) -> None:
        registry = ServedRegistry(place)
        registry.register(make_candidate(model, name), model)
        registry.register(make_candidate(model, f"{name}-b"), model)
        for found in (name, f"{name}-b"):
            (record,) = registry.versions(found)
            scratch = tmp_path / found
            scratch.mkdir()
            assert folder_sha256(registry.fetch(record, scratch)) == record.model_sha256

    def test_files_that_were_damaged(
        self, fake: FakeServer, place: EntryStore, add: Add, tmp_path: Path
    ) -> None:
        (record,) = add("a")
        self.damage(fake, tmp_path)
        with pytest.raises(RegistryError, match=r"version 1: sha256 must be .* has changed"):
            ServedRegistry(place).fetch(record, tmp_path)

    def test_another_registration_is_as_good_as_the_first(
        self, place: EntryStore, name: str, tmp_path: Path, add: Add
    ) -> None:
        """The card in a model's folder may differ between two registrations of a key."""
        (first,) = add("a")
        other = make_model(tmp_path / "other", "another card")
        same_key = make_candidate(other, name, "a")
        again = ServedRegistry(place).register(
            type(same_key).from_json({**same_key.to_json(), "key": first.key}), other
        )
        assert (again, again.stage) == (first, Stage.CANDIDATE)

    def check_aliases(
        self, place: EntryStore, name: str, champion: int | None, candidate: int | None
    ) -> None:
        """Check what the server itself says."""
        raise NotImplementedError

    def shown(self, fake: FakeServer, name: str) -> int:
        """Return how many versions, or runs of versions, the server shows."""
        raise NotImplementedError

    def damage(self, fake: FakeServer, folder: Path) -> None:
        """Change the files of the only version."""
        raise NotImplementedError
