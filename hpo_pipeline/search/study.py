"""One search as a study of Optuna: ask, report, should_stop, tell.

Both engines drive their search through this class. It owns the corners of Optuna's ask-and-tell
interface. The storage is given to it: a journal file (journal.py) that outlives the process, or
none, where the search is rebuilt from trials that are known elsewhere.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.ranking import is_usable, signed
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search import pruners, ranked, samplers
from hpo_pipeline.search.distributions import distributions
from hpo_pipeline.search.earlier import EARLIER, as_earlier, missed_by
from hpo_pipeline.search.pbt import LAST, PARENT, parent_of
from hpo_pipeline.search.proposals import Known as Known
from hpo_pipeline.search.proposals import Suggestion as Suggestion
from hpo_pipeline.search.resource import used

BEGUN = "identity"
"""User attribute of a study that has learned from earlier trials, if from any."""
AGAIN = "again"
"""User attribute of a trial that a person wants trained, though there is an equal one."""
EQUAL = "equal"
"""User attribute of a trial that a person wants, and whose configuration is an earlier one's."""
_STATES = {
    TrialState.SUCCEEDED: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


class Study:
    """A search that resumes from whatever its storage holds.

    `earlier` are trials of other searches to learn from, used when the storage is empty. They
    come before the trials of this search and are not counted; stopping ignores them.
    """

    def __init__(
        self,
        problem: Problem,
        storage: BaseStorage | None = None,
        *,
        earlier: Sequence[Trial] = (),
        asked: int = 0,
    ) -> None:
        """Open a search, of whose `start` configurations the first `asked` were asked for."""
        self._problem = problem
        self._distributions = distributions(problem.space)
        self._pruner = pruners.build(problem)
        self.size = problem.size() if problem.search.is_exhaustible else None
        """How many trials there can be: the points of a grid; None where there is no end."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=problem.name,
            storage=storage or InMemoryStorage(),
            directions=[StudyDirection[f"{o.goal.upper()}"] for o in problem.objective],
            load_if_exists=True,
        )
        if BEGUN not in self._study.user_attrs:
            self._learn(earlier)
            self._study.set_user_attr(BEGUN, problem.name)
        self._offset = sum(EARLIER in trial.user_attrs for trial in self._trials())
        waiting = len(self._trials(OptunaState.WAITING))
        self._count = len(self._trials()) - waiting - self._offset
        for assignments in problem.search.start[asked:]:
            self._study.enqueue_trial(dict(assignments), skip_if_exists=True)

    @classmethod
    def rebuilt(
        cls,
        problem: Problem,
        known: Mapping[int, Known],
        *,
        asked: int,
        earlier: Sequence[Trial] = (),
        storage: BaseStorage | None = None,
    ) -> Study:
        """Return a search of which `asked` trials were asked for elsewhere, or in a lost journal.

        Unknown trials count as failed. Algorithms that keep notes at their trials (`keeps_notes`)
        are asked for each trial once more, with the trials ended that had ended then, so that
        they note the same; what they propose is not used.
        """
        study = cls(problem, storage, earlier=earlier, asked=len(problem.search.start))
        replays = problem.search.keeps_notes
        told: set[int] = set()
        for number in range(asked):
            here = known.get(number)
            if here is None or not study._can_have(here):
                study._ask_unknown(number)
                continue
            if replays:
                for other in sorted(here.ended_before - told):
                    study.tell(known[other].trial)
                    told.add(other)
                study._replay(here)
            else:
                study._add(here)
        for number, here in sorted(known.items()):
            if number < asked and here.trial.state.is_final:
                study.tell(here.trial)
        for assignments in problem.search.start[asked:]:
            study._study.enqueue_trial(dict(assignments))
        return study

    def name(self, number: int) -> str:
        """Return the name of a trial."""
        return f"{self._problem.name}-{number:04d}"

    def knows(self, number: int) -> bool:
        """Return whether a trial was asked for."""
        return number < self.count()

    def unfinished(self) -> list[Suggestion]:
        """Return the trials that were asked for and have no end yet, as after a crash."""
        running = self._trials(OptunaState.RUNNING)
        return [self._suggestion(self._completed(trial)) for trial in running]

    def ended(self) -> list[int]:
        """Return the numbers of the trials that have ended."""
        states = (OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL)
        numbers = (trial.number - self._offset for trial in self._trials(*states))
        return [number for number in numbers if number >= 0]

    def count(self) -> int:
        """Return how many trials were asked for."""
        return self._count

    def learned(self) -> int:
        """Return how many trials of other searches this one learns from."""
        return self._offset

    def is_exhausted(self) -> bool:
        """Return whether there is nothing left to ask for: a grid that is through."""
        if self.size is None or self._trials(OptunaState.WAITING):
            return False
        equals = sum(EQUAL in trial.user_attrs for trial in self._trials())
        return self.count() - equals >= self.size

    def enqueue(self, assignments: Mapping[str, Value], *, again: bool = False) -> int:
        """Have a configuration tried next, behind those that wait already; return its number.

        Args:
            again: train it also where an equal trial has ended, and could lend its result.
        """
        active = self._problem.space.active(assignments)
        known = (self._problem.space.active(trial.params) for trial in self._trials())
        attributes = {AGAIN: again, **({EQUAL: True} if active in known else {})}
        self._study.enqueue_trial(dict(assignments), user_attrs=attributes)
        return len(self._trials()) - 1 - self._offset

    def ask(self) -> Suggestion:
        """Return the next configuration to try."""
        self._use_sampler(self.count())
        with samplers.constraints_elsewhere():
            trial = self._study.ask(self._distributions)
        self._count += 1
        return self._suggestion(self._frozen(trial.number - self._offset))

    def asked(self, number: int) -> Suggestion:
        """Return what was proposed under a number."""
        return self._suggestion(self._frozen(number))

    def parameters(self, number: int) -> dict[str, Value]:
        """Return all parameters of a trial, including those whose conditions do not hold."""
        return dict(self._frozen(number).params)

    def admit(self, number: int) -> None:
        """Make room for a trial that another process asked for, if there is none yet."""
        while self.count() <= number:
            self._study.add_trial(optuna.trial.create_trial(state=OptunaState.RUNNING))
            self._count += 1

    def report(self, number: int, point: Point) -> None:
        """Store one point of a running trial's curve."""
        vector, step = self._vector(point), used(self._problem.stopping, point)
        frozen = self._frozen(number)
        if vector is None or step <= 0:
            return
        if len(vector) > 1:
            ranked.keep(self._study, frozen, step, vector)
        elif step not in frozen.intermediate_values:
            value = self._problem.objective[0].sign() * vector[0]
            self._study._storage.set_trial_intermediate_value(frozen._trial_id, step, value)

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Return whether a trial should end at the last point of its curve.

        The curve is the caller's, not the stored one: a trial that is run again after a crash
        must not be judged by points that its first run reported.
        """
        if not curve or self._problem.stopping.algorithm == "none" or self._is_baseline(number):
            return False
        vectors: dict[int, tuple[float, ...] | None] = {}
        for point in curve:
            step = used(self._problem.stopping, point)
            is_new = step > 0 and step not in vectors
            if is_new:
                vectors[step] = self._vector(point)
        if not is_new:
            return False
        if len(self._problem.objective) > 1:
            known = {at: vector for at, vector in vectors.items() if vector is not None}
            return self._pruner.prune(*ranked.ranked(self._study, number + self._offset, known))
        trial = copy.copy(self._frozen(number))  # the storages hand out their own object
        sign = self._problem.objective[0].sign()
        trial.intermediate_values = {
            at: math.nan if vector is None else sign * vector[0] for at, vector in vectors.items()
        }
        return self._pruner.prune(self._study, trial)

    def tell(self, trial: Trial) -> None:
        """Store the end of a trial; telling the same again changes nothing."""
        frozen = self._frozen(trial.number)
        if frozen.state.is_finished():
            return
        state = _STATES[trial.state]
        if state != OptunaState.FAIL and not is_usable(self._problem, trial):
            state = OptunaState.FAIL
        for point in trial.curve:
            self.report(trial.number, point)
        if state != OptunaState.FAIL:
            self._describe(frozen, trial)
        if state == OptunaState.PRUNED and len(self._problem.objective) > 1:
            state = OptunaState.COMPLETE  # Optuna prunes single-objective studies only
            self._study._storage.set_trial_user_attr(frozen._trial_id, ranked.STOPPED, True)
        self._use_sampler(trial.number)
        values = [o.value(trial.metrics) for o in self._problem.objective]
        is_complete = state == OptunaState.COMPLETE
        with samplers.constraints_elsewhere():
            self._study.tell(
                trial.number + self._offset, values if is_complete else None, state=state
            )

    def _use_sampler(self, number: int) -> None:
        sampler = samplers.build(self._problem, number)
        samplers.take_over_space(sampler, self._study.sampler)
        self._study.sampler = sampler

    def _can_have(self, known: Known) -> bool:
        space = self._problem.space
        return known.parameters.keys() == set(space) and all(
            space[name].contains(value) for name, value in known.parameters.items()
        )

    def _ask_unknown(self, number: int) -> None:
        """Ask for a trial of which nothing is known, which grid and random give as before."""
        start = self._problem.search.start
        if number < len(start):
            self._study.enqueue_trial(dict(start[number]))
        self.ask()
        self._study.tell(number + self._offset, state=OptunaState.FAIL)

    def _replay(self, known: Known) -> None:
        """Ask for a trial once more, have the algorithm take its notes, and keep what was."""
        self._study.enqueue_trial(dict(known.parameters))
        self._use_sampler(self.count())
        with samplers.constraints_elsewhere():
            trial = self._study.ask()
            self._count += 1
            _ = trial.relative_params  # Optuna computes it only where a parameter is not fixed
        for name, distribution in self._distributions.items():
            trial._suggest(name, distribution)

    def _add(self, known: Known) -> None:
        attributes = {} if known.trial.parent is None else {PARENT: known.trial.parent}
        frozen = optuna.trial.create_trial(
            state=OptunaState.RUNNING,
            params=dict(known.parameters),
            distributions=self._distributions,
            user_attrs=attributes,
        )
        self._study.add_trial(frozen)
        self._count += 1

    def _learn(self, earlier: Sequence[Trial]) -> None:
        """Add the trials of other searches that fit this one."""
        made = (as_earlier(self._problem, self._distributions, trial) for trial in earlier)
        fitting = [trial for trial in made if trial is not None]
        self._study.add_trials(fitting[len(self._trials()) :])  # a crash may have kept some back

    def _suggestion(self, trial: FrozenTrial) -> Suggestion:
        number = trial.number - self._offset
        assignments = self._problem.space.active(trial.params)
        again = bool(trial.user_attrs.get(AGAIN))
        return Suggestion(number, assignments, parent_of(trial), is_again=again)

    def _completed(self, trial: FrozenTrial) -> FrozenTrial:
        """Give a trial the parameters that a crash in the middle of `ask` kept from it."""
        self._use_sampler(trial.number - self._offset)
        live = optuna.trial.Trial(self._study, trial._trial_id)
        for name, distribution in self._distributions.items():
            live._suggest(name, distribution)  # one that is there stays as it is
        return self._frozen(trial.number - self._offset)

    def _describe(self, frozen: FrozenTrial, trial: Trial) -> None:
        live = optuna.trial.Trial(self._study, frozen._trial_id)
        live.set_user_attr("name", trial.name)
        live.set_user_attr("metrics", trial.metrics)
        if self._problem.population_size is not None and trial.curve:
            live.set_user_attr(LAST, trial.curve[-1].metrics)
        for text in set(self._problem.constraints) - set(frozen.constraints):
            live.set_constraint(text, missed_by(text, trial))

    def _is_baseline(self, number: int) -> bool:
        """Return whether a trial is the baseline, which must train as far as it can."""
        if self._problem.baseline is None:
            return False
        parameters = self._frozen(number).params
        if not parameters:  # another process asked for it, and of none but the first by number
            return number == 0
        return self._problem.space.active(parameters) == self._problem.baseline

    def _vector(self, point: Point) -> tuple[float, ...] | None:
        """Return the objectives at a point, signed; None where one of them is not known."""
        found = signed(self._problem.objective, point.metrics)
        return found if all(map(math.isfinite, found)) else None

    def _trials(self, *states: OptunaState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _frozen(self, number: int) -> FrozenTrial:
        storage = self._study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(
            self._study._study_id, number + self._offset
        )
        return storage.get_trial(trial_id)
