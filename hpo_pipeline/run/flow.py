"""The stages of a run in their order: search, confirm, select, gate, register, report.

What a stage needs it finds in the run folder, and there it leaves what it found; so each can be
repeated, and each can be a step of a pipeline. Where anything is trained or measured is the
site's (backends/).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from hpo_pipeline.engines import Engine
from hpo_pipeline.engines.interruption import Interrupted, Interruption
from hpo_pipeline.errors import BackendError, HpoError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.registry import open_registry
from hpo_pipeline.report import formatting
from hpo_pipeline.report.terminal import Progress
from hpo_pipeline.results.confirmation import (
    confirm,
    confirmed_winner,
    needed_models,
    no_winner,
    planned,
    replicate_of,
)
from hpo_pipeline.results.outcome import (
    GateResult,
    RegistrationResult,
    SearchFacts,
    SearchResult,
    Selected,
    Winner,
)
from hpo_pipeline.results.ranking import rank, winner
from hpo_pipeline.results.run_folder import RunFolder, run_result, write_leaderboard
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.run.warm_start import earlier_trials


class Flow:
    """One run of an experiment in a run folder, at a site.

    `source` is the experiment file, where there is one here; `registry` a URI that replaces that
    of the file; `provenance` is what the registry keeps beside the hashes.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        site: Engine,
        *,
        progress: Progress,
        source: Path | None = None,
        registry: str | None = None,
        provenance: dict[str, str] | None = None,
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._site = site
        self._progress = progress
        self._source = source
        self._registry = registry
        self._provenance = provenance or {}

    def run(self, interruption: Interruption) -> SearchResult:
        """Run all stages, or go on with them; the caller holds the folder's lock.

        Raises:
            ExperimentError, DataError: before anything starts.
            BackendError, RegistryError: the run cannot go on.
            Interrupted: by Ctrl-C or SIGTERM; the same command goes on.
        """
        self._folder.adopt(self._experiment)
        self._folder.write_state(state="running", reason=None)
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
            self._folder.write_state(state=state, reason=str(error))
            raise
        self.report()
        return self._folder.result()

    def search(self, interruption: Interruption) -> list[Trial]:
        """Search, and write the leaderboard."""
        found = self._site.search(self._earlier(), interruption)
        trials = list(found.trials)
        ranked = rank(self._experiment, trials)
        others = [trial for trial in trials if trial not in ranked]
        write_leaderboard(self._folder.path / "leaderboard.csv", [*ranked, *others])
        seconds = {} if found.seconds is None else {"seconds": found.seconds}
        self._folder.write_state(ended=found.ended, search_failed=found.is_failed, **seconds)
        return trials

    def confirm(self, interruption: Interruption) -> None:
        """Train the best configurations with other seeds, where the experiment asks for it."""
        trials = self._folder.finished_trials()
        runs = planned(self._experiment, trials)
        if not runs:
            return
        place = self._folder.confirmation.trials
        if any(read_trial(place / run.name) is None for run in runs):
            tops, seeds = len({run.trial.name for run in runs}), len({run.seed for run in runs})
            self._progress.say(f"confirming the best {tops} with {seeds} other seeds each")
        needed = partial(needed_models, self._experiment, trials)
        results = self._site.train(runs, needed, interruption)
        for found in confirm(self._experiment, trials, results):
            self._progress.say(f"{found.trial}: {formatting.confirmed(self._experiment, found)}")

    def select(self) -> Selected | None:
        """Choose the winner; None where no trial is usable, and the folder says why."""
        trials = self._folder.finished_trials()
        chosen = self._choose(trials)
        if isinstance(chosen, str):
            self._folder.write_state(state="failed", reason=chosen, winner=None, chosen=None)
            return None
        self._folder.write_state(chosen=asdict(chosen), winner=asdict(self._winner(chosen)))
        return chosen

    def gate(self, interruption: Interruption) -> GateResult:
        """Measure the winner on the held-out rows, and decide whether it beats the champion."""
        chosen = self._with_model(self._chosen(), interruption)
        self._folder.write_state(chosen=asdict(chosen))
        if "gate" not in self._folder.state():
            self._progress.say(f"{chosen.run} is the best; it is evaluated on the test rows")
        told = self._told()
        gated = self._site.gate(chosen, told, interruption)
        found = replace(self._winner(chosen), test=gated.evaluation.metrics)
        self._folder.write_state(
            gate=gated.to_json(),
            kept=told.keep,
            fingerprint=gated.fingerprint,
            winner=asdict(found),
        )
        return gated

    def register(self, interruption: Interruption) -> RegistrationResult:
        """Register the winner, which becomes champion if it beats the one that there is."""
        chosen = self._chosen()
        told, image = self._told(), self._folder.state()["gate"].get("image")
        if image:
            told = replace(told, provenance={**told.provenance, "image_digest": image})
        found = self._site.register(chosen, told, interruption)
        known = Winner(**self._folder.state()["winner"])
        known = replace(known, registered=found.title, note=found.reason)
        self._folder.write_state(winner=asdict(known), registered=asdict(found))
        self._progress.say(f"registered as {found.title}: {found.reason}")
        return found

    def finish(self) -> str:
        """Write the state in which the run has ended, and return it."""
        state = self._folder.state()
        trials = self._folder.finished_trials()
        failed = sum(trial.state == TrialState.FAILED for trial in trials)
        is_failed = failed > self._experiment.budget.max_failed or state.get("search_failed")
        name = "failed" if is_failed or state.get("chosen") is None else "succeeded"
        reason = state.get("reason") if state.get("chosen") is None else state.get("ended")
        self._folder.write_state(state=name, reason=reason)
        return name

    def report(self) -> bool:
        """Write the report in a process of its own, for its plots need much memory."""
        command = [sys.executable, "-m", "hpo_pipeline.report.html", str(self._folder.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            self._progress.say(f"the report could not be written: {lines[-1]}")
        return done.returncode == 0

    def _earlier(self) -> list[Trial]:
        """Return the trials that the search learns from; empty where it has begun already."""
        names = self._experiment.search.warm_start
        has_begun = self._folder.journal.exists() or bool(self._folder.finished_trials())
        if not names or has_begun:
            return []
        of_site = {name: self._site.earlier(name) for name in names}
        found = [trial for trials in of_site.values() for trial in trials or ()]
        left = [name for name in names if of_site[name] is None]
        if not left:
            return found
        section = self._experiment.register_
        registry = open_registry(self._registry or (section.registry if section else None))
        beside = self._source.parent if self._source else Path()
        # The first of many runs has no model of before.
        own = [section.model] if section else []
        return found + earlier_trials(left, beside, registry, optional=own)

    def _choose(self, trials: Sequence[Trial]) -> Selected | str:
        best = winner(self._experiment, trials)
        ended = self._folder.state().get("ended")
        if best is None:
            return formatting.no_winner(trials, rank(self._experiment, trials), ended)
        if self._experiment.confirm is None:
            return Selected(best.name, best.name, self._experiment.search.seed)
        runs = self._folder.confirmation.finished_trials()
        confirmed = confirm(self._experiment, trials, runs)
        first = confirmed_winner(self._experiment, confirmed)
        if first is None:
            return no_winner(self._experiment, confirmed)
        run = next(r for r in planned(self._experiment, trials) if r.name == first.median)
        return Selected(first.trial, run.name, run.seed)

    def _chosen(self) -> Selected:
        found = self._folder.state().get("chosen")
        if found is None:
            raise BackendError(f"{self._folder.path}: no winner was selected")
        return Selected(**found)

    def _winner(self, chosen: Selected) -> Winner:
        result = run_result(self._folder, chosen)
        known = self._folder.state().get("winner") or {}
        is_same = (known.get("run") or known.get("name")) == chosen.run
        own = {n: known.get(n) for n in ("registered", "note", "test")} if is_same else {}
        return Winner(
            name=chosen.trial,
            assignments=result.assignments,
            metrics=result.metrics,
            test=own.get("test") or {},
            model=self._site.model_uri(),
            registered=own.get("registered"),
            note=own.get("note"),
            run=chosen.run if chosen.is_rerun else None,
        )

    def _with_model(self, chosen: Selected, interruption: Interruption) -> Selected:
        """Return the winner with its model, trained again where it was not kept.

        That is so where another winner is chosen from a search that is over: by another rule, or
        after more seeds.
        """
        if self._site.has_model(chosen):
            return chosen
        trials = {trial.name: trial for trial in self._folder.finished_trials()}
        run = replicate_of(self._experiment, trials[chosen.trial], chosen.seed)
        again = replace(chosen, run=run.name)
        place = self._folder.confirmation.trials
        if read_trial(place / run.name) is not None and self._site.has_model(again):
            return again
        self._progress.say(f"the model of {chosen.run} was not kept; it is trained again")
        shutil.rmtree(place / run.name, ignore_errors=True)
        (trial,) = self._site.train([run], lambda ended: {run.name}, interruption)
        if trial.state == TrialState.FAILED:
            raise BackendError(f"{run.name}: could not be trained again: {trial.reason}")
        return again

    def _told(self) -> SearchFacts:
        trials = self._folder.finished_trials()
        chosen = self._chosen()
        runs = self._folder.confirmation.finished_trials()
        found = confirm(self._experiment, trials, runs)
        confirmed = next((c for c in found if c.trial == chosen.trial), None)
        counts = SearchResult("", "", 0.0, tuple(trials)).counts()
        best = rank(self._experiment, trials)[: self._experiment.budget.keep]
        keep = dict.fromkeys([chosen.run, *(trial.name for trial in best)])
        return SearchFacts(counts, confirmed, self._provenance, tuple(keep))


def source_revision(folder: Path) -> dict[str, str]:
    """Return the git commit of the files in a folder, if there is one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"source_revision": done.stdout.strip()}
