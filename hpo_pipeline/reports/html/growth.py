"""How the Pareto front of several objectives grew: the hypervolume after each trial.

It is search/hypervolume.py's, as a share of the box between the worst and the best value that
any trial has of each objective, for its unit, a product of units, says nothing to people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.html.figures import GREEN, Drawing, hover, styled
from hpo_pipeline.results.ranking import is_usable, violation
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.search.hypervolume import hypervolume, reference_point


def growth(experiment: Experiment, trials: Sequence[Trial]) -> list[tuple[Trial, float]] | str:
    """Return the trials that may win with the share after each, or why there is none."""
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    allowed = [trial for trial in usable if not violation(experiment, trial)]
    if len(allowed) < 2:
        return "The hypervolume needs at least two trials that meet the constraints."
    objectives = experiment.objective
    reference = reference_point(objectives, allowed)
    values = [[o.value(trial.metrics) for trial in allowed] for o in objectives]
    box = math.prod(max(column) - min(column) for column in values)
    if not box > 0:
        return "All trials have the same value of an objective: there is no trade-off to cover."
    shares: list[tuple[Trial, float]] = []
    front: list[Trial] = []  # what adds nothing is left out: the cost grows fast with the points
    covered = 0.0
    for trial in allowed:
        share = hypervolume(objectives, [*front, trial], reference) / box
        if share > covered:
            front, covered = [*front, trial], share
        shares.append((trial, covered))
    return shares


def growth_line(experiment: Experiment, shares: Sequence[tuple[Trial, float]]) -> Drawing:
    """Draw the share of the box that is covered after each trial."""
    figure = go.Figure()
    figure.add_scatter(
        x=[trial.number for trial, _ in shares],
        y=[share for _, share in shares],
        mode="lines+markers",
        line={"shape": "hv", "color": GREEN, "width": 2},
        marker={"size": 6},
        text=[f"{hover(experiment, trial)}<br>covered {share:.1%}" for trial, share in shares],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="trial number", tickformat="d")
    figure.update_yaxes(title="share covered", tickformat=".0%", rangemode="tozero")
    return styled(figure, height=300)
