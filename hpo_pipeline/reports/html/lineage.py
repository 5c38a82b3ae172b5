"""The family tree of population based training: which trial went on from whose model.

Generations stand on the x axis, the objective on the y axis, a line leads from each trial to
those that went on from it. Nothing of this is there for the other searches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.population import Population, population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.html.captions import ancestry
from hpo_pipeline.reports.html.figures import BLUE, GREEN, GREY, ORANGE, Drawing, hover, styled
from hpo_pipeline.results.trial import Trial

Pair = tuple[Trial, Trial]


def lineage(
    experiment: Experiment, trials: Sequence[Trial], objective: Objective, *, winner: Trial | None
) -> Drawing:
    """Draw each trial in its generation, with a line from the trial that it went on from."""
    crowd = population(experiment)
    shown = [t for t in trials if math.isfinite(objective.value(t.metrics))]
    if crowd is None or not shown:
        return "No trial of a population has a result yet."
    figure = go.Figure()
    for name, colour, width, pairs in _lines(crowd, shown, winner):
        if pairs:
            _add_lines(figure, pairs, objective, crowd, line={"color": colour, "width": width})
            figure.data[-1].name = name
    best = winner.name if winner else None
    figure.add_scatter(
        x=[crowd.generation(trial.number) + 1 for trial in shown],
        y=[objective.value(trial.metrics) for trial in shown],
        mode="markers",
        name="trial",
        showlegend=False,
        text=[hover(experiment, trial) for trial in shown],
        hovertemplate="%{text}<extra></extra>",
        marker={
            "color": [GREEN if trial.name == best else BLUE for trial in shown],
            "symbol": ["star" if trial.name == best else "circle" for trial in shown],
            "size": [15 if trial.name == best else 7 for trial in shown],
        },
    )
    figure.update_xaxes(
        title="generation", tickformat="d", dtick=max(1, -(-crowd.generations // 12))
    )
    figure.update_yaxes(title=objective.name)
    return styled(figure, height=400)


def _lines(
    crowd: Population, shown: Sequence[Trial], winner: Trial | None
) -> list[tuple[str, str, float, list[Pair]]]:
    """Return the kinds of lines, each with its name, colour, width, and pairs of trials."""
    by_number = {trial.number: trial for trial in shown}
    pairs = [
        (by_number[child.parent], child)
        for child in shown
        if child.parent is not None and child.parent in by_number
    ]
    path = ancestry(shown, winner) if winner else []
    names = {trial.name for trial in path}
    of_winner = [pair for pair in pairs if pair[1].name in names]
    others = [pair for pair in pairs if pair[1].name not in names]
    own = [(a, b) for a, b in others if a.number % crowd.size == b.number % crowd.size]
    copied = [pair for pair in others if pair not in own]
    return [
        ("continues its own model", GREY, 1, own),
        ("continues another trial's model", ORANGE, 1.2, copied),
        ("line of the winner", GREEN, 3, of_winner),
    ]


def _add_lines(
    figure: go.Figure,
    pairs: Sequence[Pair],
    objective: Objective,
    crowd: Population,
    *,
    line: dict[str, object],
) -> None:
    """Add all lines as one trace with gaps."""
    x: list[int | None] = []
    y: list[float | None] = []
    for pair in pairs:
        x += [*(crowd.generation(trial.number) + 1 for trial in pair), None]
        y += [*(objective.value(trial.metrics) for trial in pair), None]
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip")
