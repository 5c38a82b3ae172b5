"""Registering a winner beside a champion that can be measured, or cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hpo_pipeline.errors import DataError, ModelFilesError, RegistryError
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from hpo_pipeline.registry.record import ModelRecord, Stage
from hpo_pipeline.registry.registration import judge, promote_by_hand, register
from hpo_pipeline.results.outcome import Evaluation, RegistrationResult
from tests.registry.contract import make_model
from tests.toys import toy_experiment, toy_trial

EXPERIMENT = toy_experiment(register={"model": "tweets"}, constraints=["loss <= 1"])


@pytest.fixture
def registry(tmp_path: Path) -> DirectoryRegistry:
    return DirectoryRegistry(tmp_path / "models")


def registered(
    registry: DirectoryRegistry, folder: Path, number: int, accuracy: float, loss: float = 0.5
) -> RegistrationResult:
    """Register the model of a trial; a champion is measured as its record says."""

    def evaluate(record: ModelRecord) -> Mapping[str, float]:
        registry.fetch(record, folder)
        return record.test_metrics

    metrics = {"accuracy": accuracy, "loss": loss}
    return register(
        EXPERIMENT,
        toy_trial(number, **metrics),
        make_model(folder / f"model-{number}", f"weights {number}"),
        registry=registry,
        evidence={"data_hash": "data"},
        test=Evaluation(metrics),
        evaluate=evaluate,
    )


def test_a_better_model_becomes_champion(registry: DirectoryRegistry, tmp_path: Path) -> None:
    found = [
        registered(registry, tmp_path, n, accuracy) for n, accuracy in enumerate((0.8, 0.7, 0.9))
    ]
    assert [result.is_champion for result in found] == [True, False, True]
    assert found[2].title == "tweets version 3"
    assert found[2].uri == registry.get("tweets", "champion").model_uri


def test_a_champion_that_was_damaged_is_named_with_the_way_out(
    registry: DirectoryRegistry, tmp_path: Path
) -> None:
    registered(registry, tmp_path, 0, 0.8)
    (tmp_path / "models" / "tweets" / "1" / "config.json").write_text("damage")
    found = registered(registry, tmp_path, 1, 0.9)
    assert not found.is_champion
    assert "the champion, version 1, cannot be measured" in found.reason
    assert found.reason.endswith("hpo models promote tweets candidate")
    promoted = promote_by_hand(registry, "tweets", "candidate", reason="the old files are gone")
    assert (promoted.version, promoted.stage) == (2, Stage.CHAMPION)
    assert registry.history("tweets")[-1].reason == "by hand: the old files are gone"
    assert registered(registry, tmp_path, 2, 0.95).is_champion


def test_a_model_that_misses_a_constraint_is_not_offered_in_place_of_the_champion(
    registry: DirectoryRegistry, tmp_path: Path
) -> None:
    registered(registry, tmp_path, 0, 0.8)
    (tmp_path / "models" / "tweets" / "1" / "config.json").write_text("damage")
    assert "misses loss <= 1" in registered(registry, tmp_path, 1, 0.9, loss=2.0).reason


def test_a_limit_that_may_be_exceeded_is_not_kept() -> None:
    reached = Evaluation({"accuracy": 0.9, "loss": 0.9}, intervals={"loss": (0.8, 1.1)})
    decision = judge(EXPERIMENT, reached, None, dict)
    assert not decision.promote
    assert "undecided whether it keeps loss <= 1; measure again" in decision.reason


@pytest.mark.parametrize(("gain", "promoted"), [(0.02, True), (0.002, False)])
def test_a_champion_must_be_beaten_with_the_confidence_that_is_asked(
    registry: DirectoryRegistry, tmp_path: Path, gain: float, promoted: bool
) -> None:
    registered(registry, tmp_path, 0, 0.8)
    wanted = {"points": 0.5, "confidence": 0.9}
    experiment = toy_experiment(register={"model": "tweets", "min_gain": wanted})
    champion, drawn = registry.champion("tweets"), np.linspace(0, 0.01, 1000) + gain
    test = Evaluation({"accuracy": 0.9, "loss": 0.1})
    found = judge(experiment, test, champion, lambda record: record.test_metrics, lambda _: drawn)
    assert found.promote is promoted
    assert ("100 %" if promoted else "70 % of the samples") in found.reason
    unknown = judge(experiment, test, champion, lambda record: record.test_metrics)
    assert not unknown.promote


@pytest.mark.parametrize("error", [DataError("is not a model"), ModelFilesError("is gone")])
def test_what_makes_a_champion_one_that_cannot_be_measured(
    registry: DirectoryRegistry, tmp_path: Path, error: Exception
) -> None:
    registered(registry, tmp_path, 0, 0.8)

    def fail(record: ModelRecord) -> Mapping[str, float]:
        raise error

    champion = registry.champion("tweets")
    decision = judge(EXPERIMENT, Evaluation({"accuracy": 0.9, "loss": 0.1}), champion, fail)
    assert not decision.promote
    assert str(error) in decision.reason


def test_a_server_that_fails_is_no_reason_to_decide(
    registry: DirectoryRegistry, tmp_path: Path
) -> None:
    registered(registry, tmp_path, 0, 0.8)

    def fail(record: ModelRecord) -> Mapping[str, float]:
        raise RegistryError("the server is down")

    with pytest.raises(RegistryError, match="is down"):
        judge(EXPERIMENT, Evaluation({"accuracy": 0.9}), registry.champion("tweets"), fail)


def test_by_hand_only_a_version_with_its_files(registry: DirectoryRegistry, tmp_path: Path) -> None:
    registered(registry, tmp_path, 0, 0.8)
    registered(registry, tmp_path, 1, 0.7)
    (tmp_path / "models" / "tweets" / "2" / "config.json").unlink()
    for version, message in (("2", "sha256 must be"), ("3", "must be one of 1, 2")):
        with pytest.raises(RegistryError, match=message):
            promote_by_hand(registry, "tweets", version)
    assert promote_by_hand(registry, "tweets", "champion").version == 1
