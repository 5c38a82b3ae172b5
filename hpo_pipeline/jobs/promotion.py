"""What happens to the winner of a run: the test rows, the gate, the registration.

Each step can be repeated: what was measured is in conclusion.json, and what was registered is
known to the registry.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpo_pipeline.data.assets import ASSETS
from hpo_pipeline.errors import BackendError, DataError, ModelMissing, TrialError
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.registry import Registry
from hpo_pipeline.registry.record import ModelRecord
from hpo_pipeline.registry.registration import judge, register
from hpo_pipeline.reports.model_card import Evidence, model_card
from hpo_pipeline.results.bootstrap import Gain, Measured, gain_of, gains
from hpo_pipeline.results.files import DATASET_FILE, MODEL_FOLDER, read_json, write_json
from hpo_pipeline.results.outcome import (
    Evaluation,
    GateResult,
    RegistrationResult,
    SearchFacts,
    Selected,
)
from hpo_pipeline.results.run_folder import RunFolder, is_kept, run_place, run_result
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.tasks.row_sums import read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHAMPION_FOLDER = "champion"  # for the time that it is measured, where the registry is elsewhere


class Measure(Protocol):
    """Measures a model on the test rows."""

    def __call__(
        self, model: Path, max_length: int, rows_file: Path, *, is_winner: bool
    ) -> Evaluation:
        """Measure the model of a folder, with texts cut after so many tokens.

        Args:
            rows_file: gets what each row adds to the metrics, where that is known.
            is_winner: whether its times are quoted.
        """
        ...


class Promotion:
    """What happens to the winner of a run in a folder that this process can write."""

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        dataset: Path,
        *,
        measure: Measure,
        registry: Registry | None,
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._dataset = dataset
        self._measure = measure
        self._registry = registry

    def gate(self, selected: Selected, facts: SearchFacts) -> GateResult:
        """Keep the winner's model, measure it and the champion on the test rows, and decide."""
        result = run_result(self._folder, selected)
        self._keep(selected, facts.baseline)
        evaluation = self._evaluation(selected.run, self._folder.model, result, is_own=True)
        meta = json.loads((self._dataset / DATASET_FILE).read_text("utf-8"))
        card = model_card(self._experiment, result, _evidence(meta, evaluation, facts, self))
        (self._folder.model / "README.md").write_text(card, "utf-8")
        gain, note = self._gain(selected, facts.baseline, evaluation)
        gated = GateResult(
            evaluation,
            meta["fingerprint"],
            model=str(self._folder.model),
            gain=gain,
            gain_note=note,
        )
        if self._registry is None or self._experiment.register_ is None:
            return gated
        champion = self._registry.champion(self._experiment.register_.model)
        decision = judge(
            self._experiment,
            evaluation,
            champion,
            lambda record: self._of_record(record, result),
            partial(self._over, selected.run, evaluation),
        )
        version = champion.version if champion else None
        return replace(gated, promote=decision.promote, reason=decision.reason, champion=version)

    def register(self, selected: Selected, facts: SearchFacts) -> RegistrationResult:
        """Register the winner, and promote it if it beats the current champion.

        Raises:
            RegistryError: the registry cannot be used; trying again repairs what was half done.
        """
        gated = self.gate(selected, facts)
        if self._registry is None:
            raise BackendError("the experiment has no section register")
        result = run_result(self._folder, selected)
        return register(
            self._experiment,
            result,
            self._folder.model,
            registry=self._registry,
            evidence={
                "data_hash": gated.fingerprint,
                "seed": str(selected.seed),
                **facts.provenance,
            },
            test=gated.evaluation,
            evaluate=lambda record: self._of_record(record, result),
            compare=partial(self._over, selected.run, gated.evaluation),
        )

    @property
    def experiment(self) -> Experiment:
        """The experiment of the run."""
        return self._experiment

    def _gain(
        self, selected: Selected, baseline: str | None, winner: Evaluation
    ) -> tuple[Gain | None, str]:
        """Return what the winner gains over the baseline on the test rows, or why that is unknown.

        What is known only of the baseline's model is known once: it may be removed afterwards.
        """
        if baseline is None:
            return None, ""
        if baseline == selected.trial:
            return None, "the baseline won: no other configuration did better"
        trial = read_trial(self._folder.trial(baseline))
        if trial is None or trial.state is TrialState.FAILED:
            why = trial.reason if trial else "it left no result"
            return None, f"the baseline failed: {why}"
        model = self._folder.trial(baseline) / MODEL_FOLDER
        if baseline not in self._folder.evaluations() and not model.is_dir():
            return None, f"the model of the baseline, {baseline}, is not kept any more"
        try:
            found = self._evaluation(baseline, model, trial, is_own=True)
        except (DataError, TrialError) as error:
            return None, f"the baseline cannot be measured: {error}"
        ours = self._measured(selected.run, winner)
        objective = self._experiment.objective[0]
        return gain_of(objective, ours, self._measured(baseline, found)), ""

    def _over(self, run: str, winner: Evaluation, record: ModelRecord) -> NDArray[Any] | str:
        """Return what the winner gains over a version, which was measured, in samples of rows."""
        name = _title(record)
        theirs = self._measured(name, self._folder.evaluations()[name])
        return gains(self._experiment.objective[0], self._measured(run, winner), theirs)

    def _measured(self, name: str, found: Evaluation) -> Measured:
        return Measured(found.metrics, read_rows(self._folder.test_rows(name)))

    def _keep(self, selected: Selected, baseline: str | None) -> None:
        if is_kept(self._folder, selected):
            return
        source = run_place(self._folder, selected) / MODEL_FOLDER
        if not source.is_dir():
            raise ModelMissing(f"{source}: the model of the winner is not kept any more")
        _copy_folder(source, self._folder.model)
        known = self._folder.evaluations()
        kept = {name: known[name].to_json() for name in known if name == baseline}
        write_json(self._folder.conclusion, {"run": selected.run, "evaluations": kept})

    def _of_record(self, record: ModelRecord, winner: Trial) -> Mapping[str, float]:
        assert self._registry is not None
        name = _title(record)
        if name in self._folder.evaluations():
            return self._folder.evaluations()[name].metrics
        scratch = self._folder.path / CHAMPION_FOLDER
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            model = self._registry.fetch(record, scratch)
            return self._evaluation(name, model, winner, is_own=False).metrics
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _evaluation(self, name: str, model: Path, winner: Trial, *, is_own: bool) -> Evaluation:
        """Measure a model, once."""
        known = self._folder.evaluations()
        if name in known:
            return known[name]
        length = winner.assignments.get("task.max_length", self._experiment.task.max_length)
        rows_file = self._folder.test_rows(name)
        rows_file.parent.mkdir(exist_ok=True)
        is_winner = model == self._folder.model
        found = self._measure(model, int(length), rows_file, is_winner=is_winner)
        own = {"train_seconds": winner.metrics["train_seconds"]} if is_own else {}
        metrics = with_score({**found.metrics, **own}, self._experiment.objective)
        found = replace(found, metrics=metrics)
        file = self._folder.conclusion
        content = read_json(file)
        content["evaluations"][name] = found.to_json()
        write_json(file, content)
        return found


def _title(record: ModelRecord) -> str:
    """Return the name under which the measurements of a version are kept."""
    return f"{record.name} version {record.version}"


def _evidence(
    meta: Mapping[str, Any], evaluation: Evaluation, facts: SearchFacts, conclusion: Promotion
) -> Evidence:
    model = conclusion.experiment.task.model
    asset = ASSETS.get(model)
    return Evidence(
        test=evaluation.metrics,
        test_intervals=evaluation.intervals,
        counts=facts.counts,
        source=meta["source"],
        fingerprint=meta["fingerprint"],
        rows=meta["rows"],
        labels=meta["labels"],
        majority=meta["majority"],
        notes=meta["notes"],
        licence=asset.licence if asset else None,
        base_model=asset.source if asset else model,
        confirmed=facts.confirmed,
    )


def _copy_folder(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another, never leaving half of it under its name."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)
