"""What every registry driver must do; a driver's test class gives the fixture `registry`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import Registry
from hpo_pipeline.registry.record import (
    Candidate,
    ModelRecord,
    Stage,
    folder_sha256,
    idempotency_key,
)

NAME = "tweets"


def make_model(folder: Path, weights: str = "weights") -> Path:
    (folder / "nested").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "nested" / "model.safetensors").write_text(weights)
    return folder


def make_candidate(model: Path, trial: str = "trial-1", f1: float = 0.9) -> Candidate:
    digest = folder_sha256(model)
    return Candidate(
        name=NAME,
        key=idempotency_key("experiment", trial, digest),
        model_sha256=digest,
        objective="maximize f1",
        metrics={"f1": f1},
        test_metrics={"f1": f1 - 0.01},
        assignments={"learning_rate": 3e-4, "fp16": True, "optim": "adamw", "layers": 2},
        space_hash="space",
        data_hash="data",
        experiment=NAME,
        trial=trial,
        reason="stays candidate: a test",
    )


class RegistryContract:
    """Scenarios that hold for every driver."""

    @pytest.fixture
    def registry(self, tmp_path: Path) -> Registry:
        raise NotImplementedError

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return make_model(tmp_path / "model")

    def add(self, registry: Registry, model: Path, *trials: str) -> list[ModelRecord]:
        return [registry.register(make_candidate(model, trial), model) for trial in trials]

    def promote(self, registry: Registry, *versions: int) -> None:
        for version in versions:
            champion = registry.champion(NAME)
            expected = champion.version if champion else None
            assert registry.promote(NAME, version, expected=expected, reason=f"try {version}")

    def test_an_empty_registry_has_no_champion(self, registry: Registry) -> None:
        assert registry.names() == []
        assert registry.champion(NAME) is None

    def test_a_version_comes_back_as_it_was_registered(
        self, registry: Registry, model: Path
    ) -> None:
        candidate = make_candidate(model)
        record = registry.register(candidate, model)
        assert Candidate.from_json(record.to_json()) == candidate
        assert record.version == 1
        assert registry.get(NAME, 1) == registry.get(NAME, "1") == record
        assert ModelRecord.from_json(record.to_json()) == record

    def test_the_model_is_a_copy(self, registry: Registry, model: Path) -> None:
        record = registry.register(make_candidate(model), model)
        make_model(model, "other")
        assert folder_sha256(record.local_folder()) == record.model_sha256

    def test_the_same_key_is_the_same_version(self, registry: Registry, model: Path) -> None:
        first, again, other = self.add(registry, model, "a", "a", "b")
        assert first == again
        assert [first.version, other.version] == [1, 2]
        assert [event.kind for event in registry.history(NAME)] == ["registered"] * 2

    def test_the_latest_is_the_candidate_until_promoted(
        self, registry: Registry, model: Path
    ) -> None:
        self.add(registry, model, "a", "b")
        assert registry.get(NAME, "candidate").version == 2
        self.promote(registry, 2)
        assert registry.get(NAME, "champion").version == 2
        with pytest.raises(RegistryError, match="got 'candidate'"):
            registry.get(NAME, "candidate")

    def test_one_champion_at_a_time(self, registry: Registry, model: Path) -> None:
        self.add(registry, model, "a", "b")
        self.promote(registry, 1, 2)
        assert [r.stage for r in registry.versions(NAME)] == [Stage.ARCHIVED, Stage.CHAMPION]

    def test_promotion_needs_the_expected_champion(self, registry: Registry, model: Path) -> None:
        self.add(registry, model, "a", "b", "c")
        self.promote(registry, 1)
        assert not registry.promote(NAME, 2, expected=None, reason="too late")
        assert not registry.promote(NAME, 2, expected=3, reason="too late")
        assert registry.get(NAME, "champion").version == 1

    def test_promotion_twice_is_once(self, registry: Registry, model: Path) -> None:
        self.add(registry, model, "a")
        assert registry.promote(NAME, 1, expected=None, reason="first")
        assert registry.promote(NAME, 1, expected=None, reason="retry")
        assert [event.reason for event in registry.history(NAME)][1:] == ["first"]

    def test_rollback_goes_back_through_the_champions(
        self, registry: Registry, model: Path
    ) -> None:
        self.add(registry, model, "a", "b", "c")
        self.promote(registry, 1, 2, 1, 3)
        assert [registry.rollback(NAME).version for _ in range(3)] == [1, 2, 1]
        with pytest.raises(RegistryError, match="version 1 is the first"):
            registry.rollback(NAME)

    def test_history_says_what_and_why(self, registry: Registry, model: Path) -> None:
        self.add(registry, model, "a", "b")
        self.promote(registry, 1, 2)
        registry.rollback(NAME, reason="complaints")
        last = [(e.kind, e.version, e.reason) for e in registry.history(NAME)][2:]
        promoted = [("promoted", 1, "try 1"), ("promoted", 2, "try 2")]
        assert last == [*promoted, ("rolled back", 1, "complaints")]

    def test_rollback_without_champion(self, registry: Registry, model: Path) -> None:
        self.add(registry, model, "a")
        with pytest.raises(RegistryError, match="there is no champion"):
            registry.rollback(NAME)

    @pytest.mark.parametrize("version", [2, "2", "latest", "archived"])
    def test_an_unknown_version(self, registry: Registry, model: Path, version: int | str) -> None:
        self.add(registry, model, "a")
        with pytest.raises(RegistryError, match="must be one of 1, or champion or candidate"):
            registry.get(NAME, version)

    def test_an_unknown_model(self, registry: Registry, model: Path) -> None:
        self.add(registry, model, "a")
        with pytest.raises(RegistryError, match="got 'movie', have tweets"):
            registry.versions("movie")
        with pytest.raises(RegistryError, match="got 'movie'"):
            registry.promote("movie", 1, expected=None, reason="")

    @pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a" * 64])
    def test_a_name_that_is_no_name(self, registry: Registry, model: Path, name: str) -> None:
        with pytest.raises(RegistryError, match="model name: must be"):
            registry.register(replace(make_candidate(model), name=name), model)

    def test_a_missing_model_folder(self, registry: Registry, model: Path, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="must be a folder with a model"):
            registry.register(make_candidate(model), tmp_path / "none")
        assert registry.names() == []

    def test_a_model_that_changed_since_it_was_measured(
        self, registry: Registry, model: Path
    ) -> None:
        candidate = make_candidate(model)
        make_model(model, "other")
        with pytest.raises(RegistryError, match="the model has changed"):
            registry.register(candidate, model)
        assert registry.names() == []

    def test_metrics_that_are_no_numbers(self, registry: Registry, model: Path) -> None:
        with pytest.raises(RegistryError, match="metrics must be finite"):
            registry.register(make_candidate(model, f1=float("nan")), model)
