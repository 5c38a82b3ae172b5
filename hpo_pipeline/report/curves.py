"""Plots that Optuna does not have: learning curves by state, and quality against its price.

Learning curves show how each trial went and where stopping cut it off; the trade-off shows
what a better objective costs in latency and size, with the front that no trial beats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import plotly.graph_objects as go  # type: ignore[import-untyped]

from hpo_pipeline import wording
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.objective import LOWER_IS_BETTER, PRACTICAL_METRICS, Objective
from hpo_pipeline.report.figures import (
    BLUE,
    GREEN,
    GREY,
    STATE_COLOURS,
    Drawing,
    hover,
    markers,
    styled,
)
from hpo_pipeline.results import Point, Trial, TrialState
from hpo_pipeline.selection import is_usable, pareto_front, violation

PRICES = ("latency_p95_ms", "model_size_mb")


def curve_objectives(experiment: Experiment, trials: Sequence[Trial]) -> list[Objective]:
    """Return what has a value at the evaluations: the objectives, or else what they read.

    A formula over practical metrics has none: those are measured on the finished model.
    """
    points = [point for trial in trials for point in trial.curve]

    def is_measured(objective: Objective) -> bool:
        return any(math.isfinite(objective.value(point.metrics)) for point in points)

    found: dict[str, Objective] = {}
    for objective in experiment.objective:
        parts = [objective]
        if not is_measured(objective):
            parts = [_metric(name) for name in sorted(objective.reads)]
        found |= {part.name: part for part in parts if is_measured(part)}
    return list(found.values())


def curves(trials: Sequence[Trial], objective: Objective, *, winner: str | None) -> Drawing:
    """Draw the objective over the evaluations; one colour a state, the winner on top."""
    figure = go.Figure()
    for state, colour in STATE_COLOURS.items():
        drawn = [t for t in trials if t.state is state and t.name != winner]
        _add_lines(figure, drawn, objective, name=state.value, colour=colour)
    best = [trial for trial in trials if trial.name == winner]
    _add_lines(figure, best, objective, name="winner", colour=GREEN)
    figure.update_traces(line_width=3, selector={"name": "winner"})
    for state, symbol in ((TrialState.STOPPED, "x"), (TrialState.FAILED, "x-thin-open")):
        ends = [
            (trial, points[-1])
            for trial in trials
            if trial.state is state and (points := _measured(trial, objective))
        ]
        if ends:
            figure.add_trace(_ends(ends, objective, symbol=symbol))
    figure.update_xaxes(title="evaluation", tickformat="d", dtick=_tick(trials))
    figure.update_yaxes(title=objective.name)
    return styled(figure, height=400)


def quality_and_prices(experiment: Experiment) -> tuple[Objective, list[Objective]]:
    """Return the objective that is about quality, and what it is weighed against."""
    objectives = experiment.objective
    quality = next((o for o in objectives if o.name not in PRACTICAL_METRICS), objectives[0])
    candidates = [*objectives, *map(_metric, PRICES)]
    prices = {o.name: o for o in reversed(candidates) if o.name != quality.name}
    return quality, list(reversed(prices.values()))


def trade_off(
    experiment: Experiment, trials: Sequence[Trial], *, quality: Objective, price: Objective
) -> Drawing:
    """Draw quality against a price, with the front of the trials that no other beats."""
    shown = [
        trial
        for trial in trials
        if is_usable(experiment, trial) and math.isfinite(price.value(trial.metrics))
    ]
    if not shown:
        return f"No trial with a result has a value for {price.name}."
    allowed = [trial for trial in shown if not violation(experiment, trial.metrics)]
    front = sorted(
        pareto_front([quality, price], allowed), key=lambda trial: price.value(trial.metrics)
    )
    figure = go.Figure()
    figure.add_scatter(
        x=[price.value(trial.metrics) for trial in front],
        y=[quality.value(trial.metrics) for trial in front],
        mode="lines",
        name="Pareto front",
        line={"color": GREEN, "dash": "dot", "width": 2},
        hoverinfo="skip",
    )
    for name, group in _groups(allowed, shown, front):
        figure.add_scatter(
            x=[price.value(trial.metrics) for trial in group],
            y=[quality.value(trial.metrics) for trial in group],
            mode="markers",
            name=name,
            text=[
                f"{hover(experiment, t)}<br>{price.name} {wording.number(price.value(t.metrics))}"
                for t in group
            ],
            hovertemplate="%{text}<extra></extra>",
            marker={
                **markers(experiment, group),
                "color": {"on the front": GREEN, "allowed": BLUE}.get(name, GREY),
                "size": 11 if name == "on the front" else 9,
            },
        )
    figure.update_xaxes(title=f"{price.name} ({_better(price)})")
    figure.update_yaxes(title=f"{quality.name} ({_better(quality)})")
    return styled(figure, height=380)


def _groups(
    allowed: Sequence[Trial], shown: Sequence[Trial], front: Sequence[Trial]
) -> Iterator[tuple[str, list[Trial]]]:
    best, met = {trial.name for trial in front}, {trial.name for trial in allowed}
    groups = {
        "on the front": [trial for trial in shown if trial.name in best],
        "allowed": [trial for trial in shown if trial.name in met - best],
        "misses a constraint": [trial for trial in shown if trial.name not in met],
    }
    return ((name, group) for name, group in groups.items() if group)


def _add_lines(
    figure: go.Figure, trials: Sequence[Trial], objective: Objective, *, name: str, colour: str
) -> None:
    """Add all lines as one trace with gaps: hundreds of traces would make the page slow."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        for point in _measured(trial, objective):
            x.append(point.step)
            y.append(objective.value(point.metrics))
            text.append(_point_text(trial, point, objective))
        x.append(None)
        y.append(None)
        text.append("")
    if any(step is not None for step in x):
        figure.add_scatter(
            x=x,
            y=y,
            text=text,
            name=name,
            mode="lines+markers",
            connectgaps=False,
            hovertemplate="%{text}<extra></extra>",
            line={"color": colour, "width": 1.5},
            marker={"size": 5},
        )


def _ends(ends: Sequence[tuple[Trial, Point]], objective: Objective, *, symbol: str) -> go.Scatter:
    state = ends[0][0].state
    return go.Scatter(
        x=[point.step for _, point in ends],
        y=[objective.value(point.metrics) for _, point in ends],
        mode="markers",
        name="stopped here" if state is TrialState.STOPPED else "failed here",
        text=[_point_text(trial, point, objective) for trial, point in ends],
        hovertemplate="%{text}<extra></extra>",
        marker={"symbol": symbol, "size": 11, "color": STATE_COLOURS[state], "line": {"width": 2}},
    )


def _point_text(trial: Trial, point: Point, objective: Objective) -> str:
    value = wording.number(objective.value(point.metrics))
    return f"<b>{escape(trial.name)}</b> ({trial.state.value})<br>evaluation {point.step}: {value}"


def _measured(trial: Trial, objective: Objective) -> list[Point]:
    return [p for p in trial.curve if math.isfinite(objective.value(p.metrics))]


def _tick(trials: Sequence[Trial]) -> int:
    longest = max((len(trial.curve) for trial in trials), default=1)
    return max(1, -(-longest // 12))


def _metric(name: str) -> Objective:
    return Objective(metric=name, goal="minimize" if name in LOWER_IS_BETTER else "maximize")


def _better(objective: Objective) -> str:
    return "more is better" if objective.goal == "maximize" else "less is better"
