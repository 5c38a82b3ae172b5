"""The gate and register stages: from a search's winner to the model that is in use.

The winner's version is created at most once however often the stage is repeated; it becomes
champion only if it beats the current one on the same test rows. The caller decides how a model is
measured: in a process or a pod.

A champion that cannot be measured stays champion: its files are missing or changed, or it is a
model for another kind of task. Then no model can be compared with it, and each one stays a
candidate until a person decides: `promote_by_hand`, in the shell `hpo models promote NAME VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.errors import DataError, ModelFilesError, RegistryError
from hpo_pipeline.experiment.register import MinGain
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.verdict import Verdict
from hpo_pipeline.registry import Registry
from hpo_pipeline.registry.gate import ROUNDING, Decision, Significance, decide
from hpo_pipeline.registry.record import (
    Candidate,
    EventKind,
    ModelRecord,
    folder_sha256,
    idempotency_key,
)
from hpo_pipeline.results.bootstrap import share_above
from hpo_pipeline.results.outcome import RegistrationResult
from hpo_pipeline.results.ranking import Known, judged
from hpo_pipeline.results.trial import Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

ATTEMPTS = 8

Evaluate = Callable[[ModelRecord], Mapping[str, float]]
Compare = Callable[[ModelRecord], "NDArray[Any] | str"]
"""Returns the gain over a registered model in samples of the test rows, or why it is not known."""


def register(
    experiment: Experiment,
    trial: Trial,
    model_folder: Path,
    *,
    registry: Registry,
    evidence: Mapping[str, str],
    test: Known,
    evaluate: Evaluate,
    compare: Compare | None = None,
) -> RegistrationResult:
    """Register the winner and promote it if it beats the champion.

    Args:
        evidence: `data_hash` and, where known, `source_revision`, `image_digest`, the `seed` of
            the training where it differs from that of the search, and the pipeline's `run`.
        test: what is known of the winner on the held-out rows.
        evaluate: measures a registered model on the same rows.
        compare: draws those rows again, for a model that was measured before.

    Raises:
        RegistryError: the registry cannot be used; trying again repairs what was half done.
    """
    candidate = _candidate(experiment, trial, model_folder, evidence, test.metrics)
    known = _known(registry, candidate)
    if known is not None and _was_champion(registry, known):
        champion = registry.champion(candidate.name)
        is_champion = champion is not None and champion.version == known.version
        return _result(known, f"already registered; {known.reason}", is_champion=is_champion)
    for _ in range(ATTEMPTS):
        champion = registry.champion(candidate.name)
        decision = judge(experiment, test, champion, evaluate, compare)
        record = registry.register(replace(candidate, reason=decision.reason), model_folder)
        if not decision.promote:
            return _result(record, decision.reason, is_champion=False)
        expected = champion.version if champion else None
        if registry.promote(record.name, record.version, expected=expected, reason=decision.reason):
            return _result(record, decision.reason, is_champion=True)
    raise RegistryError(f"{candidate.name}: the champion changed {ATTEMPTS} times; try again")


def judge(
    experiment: Experiment,
    test: Known,
    champion: ModelRecord | None,
    evaluate: Evaluate,
    compare: Compare | None = None,
) -> Decision:
    """Decide whether the winner, as it was measured on the test rows, replaces the champion."""
    found = _judged(experiment, test, champion, evaluate, compare)
    unknown = [c for c in experiment.constraints if judged(c, test) is Verdict.UNDECIDED]
    if found.promote and unknown:
        # A limit that may be exceeded is not kept: another run, or a quieter machine, will tell.
        found = Decision(
            False,
            f"stays candidate: on the test rows it is undecided whether it keeps "
            f"{'; '.join(unknown)}; measure again on a quiet machine, or relax the limit",
        )
    rows = experiment.task.gate_rows.removeprefix("held-out ")
    return replace(found, reason=found.reason.replace("test rows", rows))


def _judged(
    experiment: Experiment,
    test: Known,
    champion: ModelRecord | None,
    evaluate: Evaluate,
    compare: Compare | None,
) -> Decision:
    objective = experiment.objective[0]
    assert experiment.register_ is not None
    wanted = experiment.register_.min_gain
    decided = partial(
        decide,
        goal=objective.goal,
        min_gain=wanted.least,
        violations=[c for c in experiment.constraints if judged(c, test) is Verdict.MISSED],
    )
    value = None
    if champion is not None:
        try:
            # The cost of training is not measured again: the champion's record has it.
            measured = {**champion.test_metrics, **evaluate(champion)}
        except (DataError, ModelFilesError) as error:
            alone = decided(objective.value(test.metrics), None)
            return _without_champion(champion, error) if alone.promote else alone
        value = objective.value(measured)
        if wanted.confidence is not None:
            sure = _significance(wanted, champion, compare)
            return decided(objective.value(test.metrics), value, significance=sure)
    return decided(objective.value(test.metrics), value)


def _significance(wanted: MinGain, champion: ModelRecord, compare: Compare | None) -> Significance:
    assert wanted.confidence is not None
    found = compare(champion) if compare else "the test rows are not known here"
    if isinstance(found, str):
        return Significance(wanted.confidence, None, found)
    return Significance(wanted.confidence, share_above(found, wanted.least - ROUNDING))


def promote_by_hand(
    registry: Registry, name: str, version: int | str, *, reason: str = ""
) -> ModelRecord:
    """Make a version champion without comparing it with the current one, and return it.

    Args:
        version: a number, or `candidate` for the latest that was not promoted.

    Raises:
        RegistryError: there is no such version, its files are missing or changed, or another one
            became champion meanwhile.
    """
    record, champion = registry.get(name, version), registry.champion(name)
    expected = champion.version if champion else None
    why = f"by hand: {reason}" if reason else "by hand"
    if not registry.promote(name, record.version, expected=expected, reason=why):
        raise RegistryError(
            f"{name}: another version became champion meanwhile; look at it with "
            f"`hpo models show {name}`, then try again"
        )
    return registry.get(name, record.version)


def _without_champion(champion: ModelRecord, error: Exception) -> Decision:
    return Decision(
        False,
        f"stays candidate: the champion, version {champion.version}, cannot be measured: {error}; "
        f"to make this model champion without a comparison: "
        f"hpo models promote {champion.name} candidate",
    )


def _result(record: ModelRecord, reason: str, *, is_champion: bool) -> RegistrationResult:
    return RegistrationResult(record.name, record.version, is_champion, reason, record.model_uri)


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
        # The card in the folder has timings; the weights alone identify the model.
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
    """Return whether the gate let a version pass before; one that was rolled back stays so."""
    passed = (EventKind.PROMOTED, EventKind.ROLLED_BACK)
    events = registry.history(record.name)
    return any(event.version == record.version and event.kind in passed for event in events)
