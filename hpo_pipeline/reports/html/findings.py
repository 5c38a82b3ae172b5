"""What the trials show, as numbers and in words: importances, what mattered, steps saved.

Importances are PED-ANOVA's (Watanabe et al., IJCAI 2023): how much a parameter's values decide
whether a trial is among the best; it takes parameters with conditions too. It knows nothing of
HTML; its sentences are plain text.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial

from optuna.trial import TrialState

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.html.studies import study
from hpo_pipeline.results.ranking import is_usable, violation
from hpo_pipeline.results.training_progress import training_progress
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.results.trial import TrialState as State

MIN_TRIALS = 4
FEW = 8
"""Below this, or twice the number of parameters, the shares say next to nothing."""
ROUGH_BELOW = 20
STRONG, WEAK = 0.15, 0.05
MIN_THIRD = 3


def importances(
    experiment: Experiment, trials: Sequence[Trial], objective: Objective
) -> dict[str, float] | str:
    """Return each parameter's share of the importance, largest first, or why there is none."""
    rebuilt = study(experiment, trials, [objective])
    complete = rebuilt.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS:
        return f"Importances need at least {MIN_TRIALS} trials with a result."
    if len({trial.value for trial in complete}) < 2:
        return f"All trials have the same {objective.name}: nothing made a difference."
    # Loads scikit-learn, which takes seconds.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    found = get_param_importances(rebuilt, evaluator=PedAnovaImportanceEvaluator())
    if not found or not math.fsum(found.values()) > 0:
        return "No parameter took more than one value."
    return found


def what_mattered(
    experiment: Experiment,
    trials: Sequence[Trial],
    objective: Objective,
    found: Mapping[str, float],
) -> str:
    """Say in a few sentences which parameters mattered and where the good values lie."""
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    ranked = sorted(usable, key=partial(_place_of, experiment, objective))
    shares = sorted(found.items(), key=lambda item: -item[1])
    (first, share), *others = shares
    strong = [(name, part) for name, part in others if part >= STRONG]
    sentences = [
        f"{first} mattered most: {share:.0%} of what puts a trial among the best in "
        f"{objective.name}" + "".join(f", {name} {part:.0%}" for name, part in strong) + "."
    ]
    for name in (first, *(name for name, _ in strong[:1])):
        sentences += [_best_values(experiment, name, ranked), _direction(objective, name, usable)]
    weak = [name for name, part in others if part < WEAK]
    if weak:
        sentences.append(f"{_listed(weak)} made little difference (below {WEAK:.0%} each).")
    sentences.append(_at_edge(experiment, ranked[0], [first, *(name for name, _ in strong)]))
    return " ".join(filter(None, [_doubt(experiment, usable), *sentences]))


def steps_saved(experiment: Experiment, trials: Sequence[Trial]) -> tuple[int, float] | None:
    """Return the training steps that stopping saved and their share of the whole, or None.

    What a stopped trial would have run is worked out from its own steps an epoch.
    """
    stopped = [trial for trial in trials if trial.state is State.STOPPED]
    planned = [_planned_steps(experiment, trial) for trial in stopped]
    saved = sum(
        max(0, steps - trial.training_steps)
        for steps, trial in zip(planned, stopped, strict=True)
        if steps is not None
    )
    done = sum(trial.training_steps for trial in trials)
    return (saved, saved / (saved + done)) if saved else None


def _planned_steps(experiment: Experiment, trial: Trial) -> int | None:
    found = training_progress(experiment, trial)
    return found.steps if found else None


def _place_of(experiment: Experiment, objective: Objective, trial: Trial) -> tuple[float, ...]:
    """Return the sort key that has the best trials first, those within the constraints before."""
    value = objective.sign() * objective.value(trial.metrics)
    return (violation(experiment, trial), -value, trial.number)


def _doubt(experiment: Experiment, usable: Sequence[Trial]) -> str:
    """Say how far the shares can be trusted; nothing where they can."""
    if experiment.search.population_size is not None:
        return (
            "Later generations had other values and more training: the shares cannot tell the two "
            "apart."
        )
    if len(usable) < max(FEW, 2 * len(experiment.space)):
        return (
            f"{len(usable)} trials are too few to know what mattered; this is a first guess, which "
            "a few more trials may turn over."
        )
    if len(usable) < ROUGH_BELOW:
        return f"With {len(usable)} trials, take the shares as rough."
    return ""


def _best_values(experiment: Experiment, name: str, ranked: Sequence[Trial]) -> str:
    best = ranked[: max(3, len(ranked) // 4)]
    values = [trial.assignments[name] for trial in best if name in trial.assignments]
    if not values:
        return ""
    noun = f"the best {len(best)} trials" if len(best) > 1 else "the best trial"
    parameter = experiment.space[name]
    if parameter.type == "choice":
        counts = {formatting.value(value): values.count(value) for value in values}
        return f"Of {noun}, " + _listed([f"{n} used {v}" for v, n in counts.items()]) + "."
    numbers = sorted(float(value) for value in values)
    low, high = formatting.value(numbers[0]), formatting.value(numbers[-1])
    where = f"between {low} and {high}" if low != high else f"at {low}"
    searched = f"{formatting.value(parameter.low)} to {formatting.value(parameter.high)}"
    return f"In {noun} {name} is {where} (searched: {searched})."


def _direction(objective: Objective, name: str, usable: Sequence[Trial]) -> str:
    """Say whether higher, lower or middle values did better, by the medians of three thirds."""
    known = [(t.assignments.get(name), objective.value(t.metrics)) for t in usable]
    pairs = [(v, y) for v, y in known if isinstance(v, int | float) and not isinstance(v, bool)]
    pairs.sort(key=lambda pair: pair[0])
    if len(pairs) < 3 * MIN_THIRD or len({v for v, _ in pairs}) < 3:
        return ""
    size = len(pairs) // 3
    thirds = (pairs[:size], pairs[size:-size], pairs[-size:])
    low, middle, high = (statistics.median(y for _, y in third) for third in thirds)
    sign = objective.sign()
    # Equal values on both sides of a border would count for both thirds.
    if thirds[0][-1][0] == thirds[1][0][0] or thirds[1][-1][0] == thirds[2][0][0]:
        return ""
    if sign * low < sign * middle < sign * high:
        which, best, worst = "Higher", high, low
    elif sign * low > sign * middle > sign * high:
        which, best, worst = "Lower", low, high
    elif sign * middle > max(sign * low, sign * high):
        which, best, worst = "Middle", middle, min(low, high, key=lambda y: sign * y)
    else:
        return ""
    best_text, worst_text = formatting.number(best), formatting.number(worst)
    return (
        f"{which} values did better: the median {objective.name} is {best_text} in that third "
        f"of the trials, {worst_text} in the worst third."
    )


def _at_edge(experiment: Experiment, best: Trial, names: Sequence[str]) -> str:
    for name in names:
        parameter, value = experiment.space[name], best.assignments.get(name)
        if parameter.type != "float" or value is None:
            continue
        place = _place(float(value), parameter.low, parameter.high, log=parameter.log)
        if not 0.05 < place < 0.95:
            end = "lower" if place < 0.5 else "upper"
            return (
                f"The best trial's {name} ({formatting.value(value)}) is at the {end} end of its "
                "range; a wider range may hold better values."
            )
    return ""


def _place(value: Value, low: float, high: float, *, log: bool) -> float:
    if log:
        return math.log(float(value) / low) / math.log(high / low)
    return (float(value) - low) / (high - low)


def _listed(words: Sequence[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last
