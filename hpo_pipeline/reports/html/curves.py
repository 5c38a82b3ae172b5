"""Learning curves, which Optuna draws without the states of trials.

They show how each trial went, where stopping cut it off, and where it failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.html.figures import GREEN, STATE_COLOURS, Drawing, styled
from hpo_pipeline.reports.html.tradeoff import metric_objective
from hpo_pipeline.results.trial import Point, Trial, TrialState

Line = list[tuple[int, float, str]]
"""Step, value and hover text of each point."""

ENDS = {TrialState.STOPPED: "x", TrialState.FAILED: "x-thin-open"}


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
            parts = [metric_objective(experiment, name) for name in sorted(objective.reads)]
        found |= {part.name: part for part in parts if is_measured(part)}
    return list(found.values())


def curves(trials: Sequence[Trial], objective: Objective, *, winner: str | None) -> Drawing:
    """Draw the objective over the evaluations; one colour a state, the winner on top."""
    figure = go.Figure()
    by_number = {trial.number: trial for trial in trials}
    for state, colour in STATE_COLOURS.items():
        drawn = [t for t in trials if t.state is state and t.name != winner]
        lines = [_line(trial, by_number, objective) for trial in drawn]
        _add_lines(figure, lines, name=state.value, colour=colour)
    best = [_line(trial, by_number, objective) for trial in trials if trial.name == winner]
    _add_lines(figure, best, name="winner", colour=GREEN)
    figure.update_traces(line_width=3, selector={"name": "winner"})
    for state in ENDS:
        ended = [trial for trial in trials if trial.state is state and _measured(trial, objective)]
        if ended:
            figure.add_trace(_ends(ended, objective, state))
    figure.update_xaxes(title="evaluation", tickformat="d", dtick=_tick(trials))
    figure.update_yaxes(title=objective.name)
    return styled(figure, height=400)


def _line(trial: Trial, by_number: Mapping[int, Trial], objective: Objective) -> Line:
    """Return a trial's points, from the last one of the trial that it resumes from."""
    own = [(trial, point) for point in _measured(trial, objective)]
    parent = by_number.get(trial.parent) if trial.parent is not None else None
    before = [(parent, point) for point in _measured(parent, objective)[-1:]] if parent else []
    return [
        (p.step, objective.value(p.metrics), _point_text(of, p, objective))
        for of, p in (*before, *own)
    ]


def _add_lines(figure: go.Figure, lines: Sequence[Line], *, name: str, colour: str) -> None:
    """Add all lines as one trace with gaps: hundreds of traces would make the page slow."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for line in lines:
        for step, value, words in line:
            x.append(step)
            y.append(value)
            text.append(words)
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
            showlegend=name not in ENDS,  # the marker at the end names the line
            hovertemplate="%{text}<extra></extra>",
            line={"color": colour, "width": 1.2},
            marker={"size": 4},
        )


def _ends(trials: Sequence[Trial], objective: Objective, state: TrialState) -> go.Scatter:
    ends = [(trial, _measured(trial, objective)[-1]) for trial in trials]
    colour = STATE_COLOURS[state]
    return go.Scatter(
        x=[point.step for _, point in ends],
        y=[objective.value(point.metrics) for _, point in ends],
        mode="markers",
        name=f"{state.value} here",
        text=[_point_text(trial, point, objective) for trial, point in ends],
        hovertemplate="%{text}<extra></extra>",
        marker={
            "symbol": ENDS[state],
            "size": 9,
            "color": colour,
            "line": {"width": 2 if "thin" in ENDS[state] else 0, "color": colour},
        },
    )


def _point_text(trial: Trial, point: Point, objective: Objective) -> str:
    value = formatting.number(objective.value(point.metrics))
    return f"<b>{escape(trial.name)}</b> ({trial.state.value})<br>evaluation {point.step}: {value}"


def _measured(trial: Trial, objective: Objective) -> list[Point]:
    return [p for p in trial.curve if math.isfinite(objective.value(p.metrics))]


def _tick(trials: Sequence[Trial]) -> int:
    longest = max((trial.curve[-1].step for trial in trials if trial.curve), default=1)
    return max(1, -(-longest // 12))
