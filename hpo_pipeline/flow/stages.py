"""The stages of a run in their order: search, confirm, select, gate, register, report.

Each stage finds what it needs in the run folder and leaves there what it found; so each can be
repeated, and each can be a step of a pipeline. Where anything is trained or measured is the
engine's (engines/).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.engines import Engine, RunContext
from hpo_pipeline.engines.interruption import Interrupted, Interruption
from hpo_pipeline.errors import BackendError, HpoError, ModelMissing
from hpo_pipeline.experiment.baseline import NOT_WANTED
from hpo_pipeline.flow.tracing import stage
from hpo_pipeline.flow.warm_start import earlier_trials, keeping_rules, of_use
from hpo_pipeline.jobs.commands import GATE, REGISTER, promote_job, train_job
from hpo_pipeline.registry import open_registry
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.page_process import write_page
from hpo_pipeline.results.baseline import baseline_name
from hpo_pipeline.results.confirmation import (
    Replicate,
    confirm,
    confirmed_winner,
    no_winner,
    planned,
    replicate_of,
)
from hpo_pipeline.results.job import JobOutput
from hpo_pipeline.results.outcome import (
    GateResult,
    RegistrationResult,
    SearchFacts,
    SearchResult,
    Selected,
    Winner,
    answer_as,
)
from hpo_pipeline.results.ranking import listed, rank, winner
from hpo_pipeline.results.run_folder import run_result, write_leaderboard
from hpo_pipeline.results.trial import Trial, TrialState, read_trial


class Flow:
    """One run of an experiment on an engine; `provenance` is kept in the registry."""

    def __init__(
        self, context: RunContext, engine: Engine, *, provenance: dict[str, str] | None = None
    ) -> None:
        self._context = context
        self._experiment = context.experiment
        self._folder = context.folder
        self._progress = context.progress
        self._engine = engine
        self._provenance = provenance or {}

    def run(self, interruption: Interruption) -> SearchResult:
        """Run all stages, or resume them; the caller holds the folder's lock.

        Raises:
            ExperimentError, DataError: before anything starts.
            BackendError, RegistryError: the run cannot continue.
            Interrupted: by Ctrl-C or SIGTERM; the same command resumes the run.
        """
        self._folder.adopt(self._experiment)
        self._folder.update(state="running", reason=None)
        try:
            self.search(interruption)
            self.confirm(interruption)
            if self.select() is not None:
                self.gate(interruption)
                if self._experiment.register_ is not None:
                    self.register(interruption)
            self.finish()
        except HpoError as error:
            state = "interrupted" if isinstance(error, Interrupted) else "failed"
            self._folder.try_update(state=state, reason=str(error))
            raise
        self.report()
        return self._folder.result()

    @stage
    def search(self, interruption: Interruption) -> list[Trial]:
        """Search, and write the leaderboard."""
        for section, choice in self._experiment.choices().items():
            self._progress.say(f"{section}.algorithm: auto is {choice}")
        self._say_baseline()
        found = self._engine.search(self._earlier(), interruption)
        trials = list(found.trials)
        ranked, others = listed(self._experiment, trials)
        baseline = baseline_name(self._experiment, trials)
        write_leaderboard(self._folder.leaderboard, [*ranked, *others], baseline=baseline)
        seconds = {} if found.seconds is None else {"seconds": found.seconds}
        self._folder.update(ended=found.ended, search_failed=found.is_failed, **seconds)
        return trials

    @stage
    def confirm(self, interruption: Interruption) -> None:
        """Train the best configurations with other seeds, where the experiment asks for it."""
        trials = self._folder.finished_trials()
        replicates = planned(self._experiment, trials)
        if not replicates:
            return
        place = self._folder.confirmation
        left = [r for r in replicates if read_trial(place.trial(r.name)) is None]
        if left:
            tops = len({r.trial.name for r in replicates})
            seeds = len({r.seed for r in replicates})
            self._progress.say(f"confirming the best {tops} with {seeds} other seeds each")
        self._train(left, interruption)
        for found in confirm(self._experiment, trials, place.finished_trials()):
            self._progress.say(f"{found.trial}: {formatting.confirmed(self._experiment, found)}")

    def select(self) -> Selected | None:
        """Choose the winner; None where no trial is usable, and the folder says why."""
        trials = self._folder.finished_trials()
        found = self._select(trials)
        if isinstance(found, str):
            self._folder.update(state="failed", reason=found, winner=None, selected=None)
            return None
        self._folder.update(selected=found, winner=self._winner(found))
        return found

    @stage
    def gate(self, interruption: Interruption) -> GateResult:
        """Measure the winner on the held-out rows, and decide whether it beats the champion."""
        selected = self._selected()
        if self._folder.state().gate is None:
            rows = self._experiment.task.gate_rows
            self._progress.say(f"{selected.run} is the best; evaluating it on the {rows}")
        facts = self._facts(selected)
        try:
            output = self._promote(GATE, selected, facts, interruption)
            found = answer_as(GateResult, output.result(), GATE)
        except ModelMissing:
            selected = self._train_again(selected, interruption)
            self._folder.update(selected=selected)
            facts = self._facts(selected)
            output = self._promote(GATE, selected, facts, interruption)
            found = answer_as(GateResult, output.result(), GATE)
        found = replace(found, image=output.image)
        shown = replace(
            self._winner(selected),
            test=found.evaluation.metrics,
            test_intervals=found.evaluation.intervals,
            model=found.model,
        )
        self._folder.update(
            gate=found, kept=facts.keep, data_fingerprint=found.fingerprint, winner=shown
        )
        return found

    @stage
    def register(self, interruption: Interruption) -> RegistrationResult:
        """Register the winner, which becomes champion if it beats the one that there is."""
        selected, state = self._selected(), self._folder.state()
        facts = self._facts(selected)
        if state.gate is not None and state.gate.image:
            provenance = {**facts.provenance, "image_digest": state.gate.image}
            facts = replace(facts, provenance=provenance)
        output = self._promote(REGISTER, selected, facts, interruption)
        found = answer_as(RegistrationResult, output.result(), REGISTER)
        shown = state.winner or self._winner(selected)
        shown = replace(shown, registered=found.title, note=found.reason)
        self._folder.update(winner=shown, registered=found)
        self._progress.say(f"registered as {found.title}: {found.reason}")
        return found

    def finish(self) -> str:
        """Write the state in which the run has ended, and return it."""
        state = self._folder.state()
        trials = self._folder.finished_trials()
        failed = sum(trial.state == TrialState.FAILED for trial in trials)
        has_failed = failed > self._experiment.budget.max_failed or state.search_failed
        name = "failed" if has_failed or state.selected is None else "succeeded"
        reason = state.reason if state.selected is None else state.ended
        self._folder.update(state=name, reason=reason)
        return name

    def report(self) -> bool:
        """Write the report; say why where it cannot be written."""
        reason = write_page(self._folder.path)
        if reason is not None:
            self._progress.say(f"the report could not be written: {reason}")
        return reason is None

    def _say_baseline(self) -> None:
        """Say what tuning has to beat, or why there is nothing."""
        notes = self._context.baseline_notes or self._folder.state().baseline_notes
        self._folder.update(baseline_notes=notes)
        values = self._experiment.found_baseline().values
        if values is not None:
            self._progress.say(f"the baseline is {formatting.assignments(values)}")
        for note in notes:
            if note != NOT_WANTED:
                self._progress.say(f"baseline: {note}")

    def _earlier(self) -> list[Trial]:
        """Return the trials that the search learns from, all of which keep its rules."""
        found, note = of_use(self._experiment, self._found_earlier())
        if note is not None:
            self._progress.say(note)
        kept = keeping_rules(self._experiment.problem, found)
        if broken := len(found) - len(kept):
            self._progress.say(f"{broken} earlier trials break space_rules and are skipped")
        return kept

    def _found_earlier(self) -> list[Trial]:
        """Return the trials that `warm_start` names; none where the search has begun already."""
        names = self._experiment.search.warm_start
        has_begun = self._folder.journal.exists() or bool(self._folder.finished_trials())
        if not names or has_begun:
            return []
        of_engine = {name: self._engine.previous(name) for name in names}
        found = [trial for trials in of_engine.values() for trial in trials or ()]
        left = [name for name in names if of_engine[name] is None]
        if not left:
            return found
        section = self._experiment.register_
        of_file = section.registry if section else None
        registry = open_registry(self._context.registry, of_file=of_file)
        source = self._context.source
        beside = source.parent if source else Path()
        return found + earlier_trials(self._experiment, beside, registry, left=left)

    def _select(self, trials: Sequence[Trial]) -> Selected | str:
        """Return the winner, or why there is none."""
        best = winner(self._experiment, trials)
        if best is None:
            ended = self._folder.state().ended
            return formatting.no_winner(trials, rank(self._experiment, trials), ended)
        if self._experiment.confirm is None:
            return Selected(best.name, best.name, self._experiment.search.seed)
        replicates = self._folder.confirmation.finished_trials()
        confirmed = confirm(self._experiment, trials, replicates)
        first = confirmed_winner(self._experiment, confirmed)
        if first is None:
            return no_winner(self._experiment, confirmed)
        chosen = next(r for r in planned(self._experiment, trials) if r.name == first.median)
        return Selected(first.trial, chosen.name, chosen.seed)

    def _selected(self) -> Selected:
        found = self._folder.state().selected
        if found is None:
            raise BackendError(f"{self._folder.path}: no winner was selected; run the search first")
        return found

    def _winner(self, selected: Selected) -> Winner:
        result = run_result(self._folder, selected)
        known = self._folder.state().winner
        is_same = known is not None and (known.run or known.name) == selected.run
        fresh = Winner(
            name=selected.trial,
            assignments=result.assignments,
            metrics=result.metrics,
            intervals=result.intervals,
            run=selected.run if selected.is_rerun else None,
        )
        if known is None or not is_same:
            return fresh
        return replace(
            fresh,
            test=known.test,
            test_intervals=known.test_intervals,
            model=known.model,
            registered=known.registered,
            note=known.note,
        )

    def _train(self, replicates: Sequence[Replicate], interruption: Interruption) -> None:
        """Train configurations with seeds of their own; each result is in the folder then."""
        place = self._folder.confirmation
        place.trials.mkdir(parents=True, exist_ok=True)
        place.adopt(self._experiment)
        jobs = [
            train_job(r.name, number=r.number, seed=r.seed, assignments=r.trial.assignments)
            for r in replicates
        ]
        outputs = self._engine.run(jobs, interruption) if jobs else ()
        for replicate, output in zip(replicates, outputs, strict=True):
            if read_trial(place.trial(replicate.name)) is None:
                place.record(_trial_of(replicate, output))

    def _promote(
        self, stage: str, selected: Selected, facts: SearchFacts, interruption: Interruption
    ) -> JobOutput:
        (output,) = self._engine.run([promote_job(stage, selected, facts)], interruption)
        return output

    def _train_again(self, selected: Selected, interruption: Interruption) -> Selected:
        """Train a winner whose model was not kept, and return it with the run of that training.

        That happens where another winner is chosen from a search that is over: by another rule,
        or after more seeds.
        """
        trials = {trial.name: trial for trial in self._folder.finished_trials()}
        replicate = replicate_of(self._experiment, trials[selected.trial], selected.seed)
        self._progress.say(f"the model of {selected.run} was not kept; it is trained again")
        place = self._folder.confirmation.trial(replicate.name)
        shutil.rmtree(place, ignore_errors=True)
        self._train([replicate], interruption)
        trial = read_trial(place)
        if trial is None or trial.state == TrialState.FAILED:
            reason = trial.reason if trial else "it left no result"
            raise BackendError(f"{replicate.name}: could not be trained again: {reason}")
        return replace(selected, run=replicate.name)

    def _facts(self, selected: Selected) -> SearchFacts:
        trials = self._folder.finished_trials()
        found = confirm(self._experiment, trials, self._folder.confirmation.finished_trials())
        confirmed = next((c for c in found if c.trial == selected.trial), None)
        counts = SearchResult("", "", 0.0, tuple(trials)).counts()
        best = rank(self._experiment, trials)[: self._experiment.budget.keep]
        keep = dict.fromkeys([selected.run, *(trial.name for trial in best)])
        baseline = baseline_name(self._experiment, trials)
        return SearchFacts(counts, confirmed, self._provenance, tuple(keep), baseline)


def source_revision(folder: Path) -> dict[str, str]:
    """Return the git commit of the files in a folder, if there is one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"source_revision": done.stdout.strip()}


def _trial_of(replicate: Replicate, output: JobOutput) -> Trial:
    """Return the result of a training, or a failed one with the reason."""
    found = Trial.from_json(output.answer)
    if found is not None and found.name == replicate.name:
        return found
    reason = (output.answer or {}).get("error") or output.reason or "it left no result"
    return Trial(
        replicate.name,
        replicate.number,
        TrialState.FAILED,
        replicate.trial.assignments,
        reason=str(reason),
    )
