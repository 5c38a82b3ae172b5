"""The gate and register stages: what stands between a search's winner and the model that is in use.

The winner's version is created at most once however often the stage is repeated; it becomes
champion only if it beats the present one on the same test rows. How a model is measured is the
caller's: an engine may do it in a process or a pod.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hpo_pipeline.errors import DataError, RegistryError
from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.registry import Registry
from hpo_pipeline.registry.gate import Decision, decide
from hpo_pipeline.registry.record import (
    Candidate,
    EventKind,
    ModelRecord,
    folder_sha256,
    idempotency_key,
)
from hpo_pipeline.results.trial import Trial

ATTEMPTS = 8

Evaluate = Callable[[ModelRecord], Mapping[str, float]]


@dataclass(frozen=True)
class Registration:
    """What became of a winner."""

    record: ModelRecord
    is_champion: bool
    reason: str


def register(
    experiment: Experiment,
    trial: Trial,
    model_folder: Path,
    *,
    registry: Registry,
    evidence: Mapping[str, str],
    test: Mapping[str, float],
    evaluate: Evaluate,
) -> Registration:
    """Register the winner and promote it if it beats the champion.

    Args:
        evidence: `data_hash` and, where known, `source_revision`, `image_digest`, the `seed` of
            the training where it is not that of the search, and the pipeline's `run`.
        test: the winner's metrics on the held-out rows.
        evaluate: measures a registered model on the same rows.

    Raises:
        RegistryError: the registry cannot be used; trying again repairs what was half done.
    """
    candidate = _candidate(experiment, trial, model_folder, evidence, test)
    known = _known(registry, candidate)
    if known is not None and _was_champion(registry, known):
        champion = registry.champion(candidate.name)
        is_champion = champion is not None and champion.version == known.version
        return Registration(known, is_champion, f"already registered; {known.reason}")
    for _ in range(ATTEMPTS):
        champion = registry.champion(candidate.name)
        decision = judge(experiment, test, champion, evaluate)
        record = registry.register(replace(candidate, reason=decision.reason), model_folder)
        if not decision.promote:
            return Registration(record, False, decision.reason)
        expected = champion.version if champion else None
        if registry.promote(record.name, record.version, expected=expected, reason=decision.reason):
            return Registration(registry.get(record.name, record.version), True, decision.reason)
    raise RegistryError(f"{candidate.name}: the champion changed {ATTEMPTS} times; try again")


def judge(
    experiment: Experiment,
    test: Mapping[str, float],
    champion: ModelRecord | None,
    evaluate: Evaluate,
) -> Decision:
    """Decide whether the winner, with its metrics on the test rows, replaces the champion."""
    objective = experiment.objective[0]
    violations = [c for c in experiment.constraints if Constraint(c).violation(test) > 0]
    value = None
    if champion is not None:
        try:
            # What training took is not measured again: it stands in the champion's record.
            measured = {**champion.test_metrics, **evaluate(champion)}
        except DataError as error:
            return Decision(False, f"stays candidate: the champion cannot be measured: {error}")
        value = objective.value(measured)
    assert experiment.register_ is not None
    return decide(
        objective.value(test),
        value,
        goal=objective.goal,
        min_gain=experiment.register_.min_gain,
        violations=violations,
    )


def _candidate(
    experiment: Experiment,
    trial: Trial,
    model_folder: Path,
    evidence: Mapping[str, str],
    test: Mapping[str, float],
) -> Candidate:
    assert experiment.register_ is not None
    objective = experiment.objective[0]
    weights = hashlib.sha256()
    for file in sorted(model_folder.glob("*.safetensors")):
        weights.update(file.read_bytes())
    space = json.dumps(experiment.space.model_dump(mode="json"), sort_keys=True)
    return Candidate(
        name=experiment.register_.model,
        # The card in the folder holds timings; the weights alone say whether it is the same model.
        key=idempotency_key(experiment.identity(), trial.name, weights.hexdigest()),
        model_sha256=folder_sha256(model_folder),
        objective=f"{objective.goal} {objective.score or objective.name}",
        metrics=dict(trial.metrics),
        test_metrics=dict(test),
        assignments=dict(trial.assignments),
        space_hash=hashlib.sha256(space.encode()).hexdigest(),
        data_hash=evidence["data_hash"],
        experiment=experiment.name,
        trial=trial.name,
        reason="",
        image_digest=evidence.get("image_digest"),
        source_revision=evidence.get("source_revision"),
        seeds={
            "rows": experiment.task.rows.seed,
            "search": experiment.search.seed,
            "training": int(evidence.get("seed", experiment.search.seed)),
        },
        run=evidence.get("run"),
    )


def _known(registry: Registry, candidate: Candidate) -> ModelRecord | None:
    if candidate.name not in registry.names():
        return None
    return next((r for r in registry.versions(candidate.name) if r.key == candidate.key), None)


def _was_champion(registry: Registry, record: ModelRecord) -> bool:
    """Whether the gate let it pass before: a version that was rolled back stays so."""
    passed = (EventKind.PROMOTED, EventKind.ROLLED_BACK)
    events = registry.history(record.name)
    return any(event.version == record.version and event.kind in passed for event in events)
