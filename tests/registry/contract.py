"""What every registry driver must do; a driver's test class gives the fixture `uri`.

Other processes open the registry by that URI. A server may hold models of other tests, so each
test has a model name of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import Registry, open_registry
from hpo_pipeline.registry.record import (
    Candidate,
    ModelRecord,
    Stage,
    folder_sha256,
    idempotency_key,
)

PROCESSES = multiprocessing.get_context("forkserver")
"""They know nothing of this process, and start in milliseconds: their server has loaded this."""
PROCESSES.set_forkserver_preload([__name__])


def set_environment(variables: dict[str, str]) -> None:
    os.environ.update(variables)


def pool(count: int) -> Any:
    """Return a pool of processes with the environment of the test."""
    return PROCESSES.Pool(count, set_environment, (dict(os.environ),))


def make_model(folder: Path, weights: str = "weights") -> Path:
    (folder / "nested").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "nested" / "model.safetensors").write_text(weights)
    return folder


def make_candidate(model: Path, name: str, trial: str = "trial-1", f1: float = 0.9) -> Candidate:
    digest = folder_sha256(model)
    return Candidate(
        name=name,
        key=idempotency_key("experiment", trial, digest),
        model_sha256=digest,
        objective="maximize f1",
        metrics={"f1": f1},
        test_metrics={"f1": f1 - 0.01},
        assignments={"learning_rate": 3e-4, "fp16": True, "optim": "adamw", "layers": 2},
        space_hash="space",
        data_hash="data",
        experiment="tweets",
        trial=trial,
        reason="stays candidate: a test",
        image_digest="sha256:0123",
        source_revision="4567",
        seeds={"rows": 0, "search": 1, "training": 2},
        run="run-1",
    )


def register_one(uri: str, model: Path, name: str, trial: str) -> int:
    return open_registry(uri).register(make_candidate(model, name, trial), model).version


def promote_one(uri: str, name: str, version: int) -> bool:
    return open_registry(uri).promote(name, version, expected=None, reason="race")


Add = Callable[..., list[ModelRecord]]
Promote = Callable[..., None]


class RegistryContract:
    """Scenarios that hold for every driver; `workers` makes the pool of the races."""

    many: ClassVar[int] = 3
    workers: ClassVar[Callable[[int], Any]] = pool

    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        raise NotImplementedError

    @pytest.fixture
    def name(self) -> str:
        return f"tweets-{uuid.uuid4().hex[:8]}"

    @pytest.fixture
    def registry(self, uri: str) -> Registry:
        return open_registry(uri)

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return make_model(tmp_path / "model")

    @pytest.fixture
    def add(self, registry: Registry, model: Path, name: str) -> Add:
        def add(*trials: str) -> list[ModelRecord]:
            return [registry.register(make_candidate(model, name, t), model) for t in trials]

        return add

    @pytest.fixture
    def promote(self, registry: Registry, name: str) -> Promote:
        def promote(*versions: int) -> None:
            for version in versions:
                champion = registry.champion(name)
                expected = champion.version if champion else None
                assert registry.promote(name, version, expected=expected, reason=f"try {version}")

        return promote

    def race(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        with type(self).workers(len(arguments)) as pool:
            return list(pool.starmap(function, arguments, chunksize=1))

    def test_an_empty_registry_has_no_champion(self, registry: Registry, name: str) -> None:
        assert name not in registry.names()
        assert registry.champion(name) is None

    def test_a_version_comes_back_as_it_was_registered(
        self, registry: Registry, model: Path, name: str
    ) -> None:
        candidate = make_candidate(model, name)
        record = registry.register(candidate, model)
        assert Candidate.from_json(record.to_json()) == candidate
        assert record.version == 1
        assert registry.get(name, 1) == registry.get(name, "1") == record
        assert ModelRecord.from_json(record.to_json()) == record

    def test_history_of_an_unknown_model(self, registry: Registry, name: str) -> None:
        with pytest.raises(RegistryError, match=f"no model of this name, got '{name}'"):
            registry.history(name)

    def test_the_model_is_a_copy(
        self, registry: Registry, model: Path, name: str, tmp_path: Path
    ) -> None:
        record = registry.register(make_candidate(model, name), model)
        make_model(model, "other")
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        assert folder_sha256(registry.fetch(record, scratch)) == record.model_sha256

    def test_where_it_came_from_is_kept(self, add: Add) -> None:
        (record,) = add("a")
        assert record.seeds == {"rows": 0, "search": 1, "training": 2}
        hashes = (record.space_hash, record.data_hash, record.image_digest, record.run)
        assert hashes == ("space", "data", "sha256:0123", "run-1")

    def test_the_same_key_is_the_same_version(
        self, registry: Registry, name: str, add: Add
    ) -> None:
        first, again, other = add("a", "a", "b")
        assert first == again
        assert [first.version, other.version] == [1, 2]
        assert [event.kind for event in registry.history(name)] == ["registered"] * 2

    def test_the_latest_is_the_candidate_until_promoted(
        self, registry: Registry, name: str, add: Add, promote: Promote
    ) -> None:
        add("a", "b")
        assert registry.get(name, "candidate").version == 2
        promote(2)
        assert registry.get(name, "champion").version == 2
        with pytest.raises(RegistryError, match="got 'candidate'"):
            registry.get(name, "candidate")

    def test_one_champion_at_a_time(
        self, registry: Registry, name: str, add: Add, promote: Promote
    ) -> None:
        add("a", "b")
        promote(1, 2)
        assert [r.stage for r in registry.versions(name)] == [Stage.ARCHIVED, Stage.CHAMPION]

    def test_promotion_needs_the_expected_champion(
        self, registry: Registry, name: str, add: Add, promote: Promote
    ) -> None:
        add("a", "b", "c")
        promote(1)
        assert not registry.promote(name, 2, expected=None, reason="too late")
        assert not registry.promote(name, 2, expected=3, reason="too late")
        assert registry.get(name, "champion").version == 1

    def test_promotion_twice_is_once(self, registry: Registry, name: str, add: Add) -> None:
        add("a")
        assert registry.promote(name, 1, expected=None, reason="first")
        assert registry.promote(name, 1, expected=None, reason="retry")
        assert [event.reason for event in registry.history(name)][1:] == ["first"]

    def test_rollback_goes_back_through_the_champions(
        self, registry: Registry, name: str, add: Add, promote: Promote
    ) -> None:
        add("a", "b", "c")
        promote(1, 2, 1, 3)
        assert [registry.rollback(name).version for _ in range(3)] == [1, 2, 1]
        with pytest.raises(RegistryError, match="version 1 is the first"):
            registry.rollback(name)

    def test_history_says_what_and_why(
        self, registry: Registry, name: str, add: Add, promote: Promote
    ) -> None:
        add("a", "b")
        promote(1, 2)
        registry.rollback(name, reason="complaints")
        last = [(e.kind, e.version, e.reason) for e in registry.history(name)][2:]
        promoted = [("promoted", 1, "try 1"), ("promoted", 2, "try 2")]
        assert last == [*promoted, ("rolled back", 1, "complaints")]

    def test_rollback_without_champion(self, registry: Registry, name: str, add: Add) -> None:
        add("a")
        with pytest.raises(RegistryError, match="there is no champion"):
            registry.rollback(name)

    @pytest.mark.parametrize("version", [2, "2", "latest", "archived"])
    def test_an_unknown_version(
        self, registry: Registry, name: str, add: Add, version: int | str
    ) -> None:
        add("a")
        with pytest.raises(RegistryError, match="must be one of 1, or champion or candidate"):
            registry.get(name, version)

    def test_an_unknown_model(self, registry: Registry, name: str, add: Add) -> None:
        add("a")
        with pytest.raises(RegistryError, match=r"got 'movie', have \w+"):
            registry.versions("movie")
        with pytest.raises(RegistryError, match="got 'movie'"):
            registry.promote("movie", 1, expected=None, reason="")

    @pytest.mark.parametrize("wrong", ["", "..", "a/b", "A", "-a", "a" * 64])
    def test_a_name_that_is_no_name(self, registry: Registry, model: Path, wrong: str) -> None:
        with pytest.raises(RegistryError, match="model name: must be"):
            registry.register(replace(make_candidate(model, "x"), name=wrong), model)

    def test_a_missing_model_folder(
        self, registry: Registry, model: Path, name: str, tmp_path: Path
    ) -> None:
        with pytest.raises(RegistryError, match="must be a folder with a model"):
            registry.register(make_candidate(model, name), tmp_path / "none")
        assert name not in registry.names()

    def test_a_model_that_changed_since_it_was_measured(
        self, registry: Registry, model: Path, name: str
    ) -> None:
        candidate = make_candidate(model, name)
        make_model(model, "other")
        with pytest.raises(RegistryError, match="the model has changed"):
            registry.register(candidate, model)
        assert name not in registry.names()

    def test_metrics_that_are_no_numbers(self, registry: Registry, model: Path, name: str) -> None:
        with pytest.raises(RegistryError, match="metrics must be finite"):
            registry.register(make_candidate(model, name, f1=float("nan")), model)

    def test_a_long_record(self, registry: Registry, model: Path, name: str) -> None:
        reason = "stays candidate: " + "ä'\"\n" * 4000
        candidate = replace(make_candidate(model, name), reason=reason)
        assert registry.register(candidate, model).reason == reason
        assert registry.promote(name, 1, expected=None, reason=reason)
        assert registry.history(name)[1].reason[:1000] == reason[:1000]

    def test_many_versions(self, registry: Registry, add: Add, name: str) -> None:
        add(*(f"t{i}" for i in range(self.many)))
        assert [r.version for r in registry.versions(name)] == list(range(1, self.many + 1))

    def test_eight_at_once_register_one_version(
        self, registry: Registry, uri: str, model: Path, name: str
    ) -> None:
        found = self.race(register_one, [(uri, model, name, "a")] * 8)
        (record,) = registry.versions(name)
        assert found == [record.version] * 8
        assert [e.kind for e in registry.history(name)] == ["registered"]

    def test_eight_at_once_register_eight_versions(
        self, registry: Registry, uri: str, model: Path, name: str
    ) -> None:
        found = self.race(register_one, [(uri, model, name, f"t{i}") for i in range(8)])
        assert sorted(found) == [r.version for r in registry.versions(name)]
        assert len(set(found)) == 8

    def test_eight_at_once_promote_and_one_wins(
        self, registry: Registry, uri: str, name: str, add: Add
    ) -> None:
        add(*(f"t{i}" for i in range(8)))
        won = self.race(promote_one, [(uri, name, version) for version in range(1, 9)])
        assert sum(won) == 1
        assert registry.get(name, "champion").version == won.index(True) + 1
        assert [e.kind for e in registry.history(name)].count("promoted") == 1
