"""Quality against its price: what a better objective costs in latency, size, or another objective.

The front is selection.py's, over the trials that meet the constraints; those that do not are
drawn hollow, for a constraint may have been set too tight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.html.figures import BLUE, GREEN, GREY, Drawing, hover, styled
from hpo_pipeline.results.ranking import is_usable, pareto_front, violation
from hpo_pipeline.results.trial import Trial

PRICES = ("latency_p95_ms", "model_size_mb")
LOOKS = {
    "trial": {"color": BLUE, "symbol": "circle", "size": 9},
    "on the front": {"color": GREEN, "symbol": "circle", "size": 10},
    "winner": {"color": GREEN, "symbol": "star", "size": 16},
    "misses a constraint": {
        "color": GREY,
        "symbol": "circle-open",
        "size": 9,
        "line": {"width": 1.5},
    },
}


def quality_and_prices(experiment: Experiment) -> tuple[Objective, list[Objective]]:
    """Return the objective that is about quality, and what it is weighed against."""
    objectives = experiment.objective
    quality = next((o for o in objectives if o.name not in PRACTICAL_METRICS), objectives[0])
    prices = {o.name: o for o in objectives}
    for name in PRICES:
        prices.setdefault(name, metric_objective(experiment, name))
    return quality, [price for name, price in prices.items() if name != quality.name]


def trade_off(
    experiment: Experiment,
    trials: Sequence[Trial],
    *,
    quality: Objective,
    price: Objective,
    winner: str | None,
) -> Drawing:
    """Draw quality against a price, with the front of the trials that no other beats."""
    shown = _priced(experiment, trials, price)
    if not shown:
        return f"No trial with a result has a value for {price.name}."
    prices = {price.value(trial.metrics) for trial in shown}
    if len(prices) == 1 and len(shown) > 1:
        same = formatting.number(prices.pop())
        return f"All trials have the same {price.name}, {same}: there is nothing to weigh."
    allowed = [trial for trial in shown if not violation(experiment, trial)]
    front = front_of(experiment, trials, quality=quality, price=price)
    figure = go.Figure()
    figure.add_scatter(
        **_places(front, quality, price),
        mode="lines",
        name="Pareto front",
        line={"color": GREEN, "dash": "dot", "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )
    for name, group in _groups(shown, allowed, front, winner).items():
        texts = [_text(experiment, trial, price) for trial in group]
        figure.add_scatter(
            **_places(group, quality, price),
            mode="markers",
            name=name,
            text=texts,
            hovertemplate="%{text}<extra></extra>",
            marker=LOOKS[name],
        )
    figure.update_xaxes(title=_axis(price))
    figure.update_yaxes(title=_axis(quality))
    return styled(figure, height=380)


def front_of(
    experiment: Experiment, trials: Sequence[Trial], *, quality: Objective, price: Objective
) -> list[Trial]:
    """Return the Pareto front of two objectives within the constraints, by price."""
    shown = _priced(experiment, trials, price)
    allowed = [trial for trial in shown if not violation(experiment, trial)]
    front = pareto_front([quality, price], allowed)
    return sorted(front, key=lambda trial: price.value(trial.metrics))


def metric_objective(experiment: Experiment, name: str) -> Objective:
    """Return a metric as an objective in the direction in which it is better."""
    row = experiment.task.reported.get(name)
    is_lower = row is not None and row.better == "lower"
    return Objective(metric=name, goal="minimize" if is_lower else "maximize")


def _priced(experiment: Experiment, trials: Sequence[Trial], price: Objective) -> list[Trial]:
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    return [trial for trial in usable if math.isfinite(price.value(trial.metrics))]


def _groups(
    shown: Sequence[Trial], allowed: Sequence[Trial], front: Sequence[Trial], winner: str | None
) -> dict[str, list[Trial]]:
    met, best = {t.name for t in allowed}, {t.name for t in front}
    groups: dict[str, list[Trial]] = {name: [] for name in LOOKS}
    for trial in shown:
        if trial.name == winner:
            group = "winner"
        elif trial.name not in met:
            group = "misses a constraint"
        else:
            group = "on the front" if trial.name in best else "trial"
        groups[group].append(trial)
    return {name: group for name, group in groups.items() if group}


def _places(
    trials: Sequence[Trial], quality: Objective, price: Objective
) -> dict[str, list[float]]:
    return {
        "x": [price.value(trial.metrics) for trial in trials],
        "y": [quality.value(trial.metrics) for trial in trials],
    }


def _text(experiment: Experiment, trial: Trial, price: Objective) -> str:
    amount = formatting.number(price.value(trial.metrics))
    return f"{hover(experiment, trial)}<br>{price.name} {amount}"


def _axis(objective: Objective) -> str:
    better = "more" if objective.goal == "maximize" else "less"
    row = PRACTICAL_METRICS.get(objective.name)
    unit = f"{row.unit}, " if row and row.unit else ""
    return f"{objective.name} ({unit}{better} is better)"
