"""Optuna's plots of a search, restyled: history, parallel coordinates, importances, slices.

Every function returns a figure, or a sentence in its place where the data do not
suffice. Colours and fonts of the page's theme are set in the browser (style.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

import plotly.graph_objects as go
from optuna.trial import TrialState as OptunaState
from optuna.visualization import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_slice,
)
from plotly.colors import sample_colorscale

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import ChoiceParameter, FloatParameter, IntParameter
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.html.studies import study
from hpo_pipeline.results.ranking import is_usable, violation
from hpo_pipeline.results.trial import Trial, TrialState

Drawing: TypeAlias = "go.Figure | str"

BLUE, ORANGE, GREEN, RED, GREY = "#3b76d1", "#d98014", "#2a9d62", "#d1453b", "#8a8f98"
STATE_COLOURS = {
    TrialState.SUCCEEDED: BLUE,
    TrialState.STOPPED: ORANGE,
    TrialState.FAILED: RED,
    TrialState.RUNNING: GREEN,
    TrialState.WAITING: GREY,
}
PAGE_COLOUR = "#ffffff"
"""Behind texts on lines; the script gives it the colour of the theme (style.py)."""
NOTHING_YET = "No trial has a result yet."
QUALITIES = [[0.0, "#d98014"], [0.5, "#8fa0b8"], [1.0, "#2f6fe0"]]
"""Colours from worse to better; all of them are seen on a white and on a dark page."""
AGES = [[0.0, "#a9c3ee"], [1.0, "#1d4fae"]]
"""Colours from early to late trials."""


def history(experiment: Experiment, trials: Sequence[Trial], objective: Objective) -> Drawing:
    """Draw each trial's objective and the best so far, in the order of the trials."""
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    if not usable:
        return NOTHING_YET
    figure = plot_optimization_history(
        study(experiment, trials, [objective]), target_name=objective.name
    )
    for trace in figure.data:
        shown = [trials[index] for index in trace.x]
        trace.x = [trial.number for trial in shown]
        if trace.mode == "lines":
            trace.update(name="best so far", line={"shape": "hv", "color": GREEN, "width": 2})
            trace.hoverinfo = "skip"
            continue
        is_missed = "Infeasible" in trace.name
        trace.update(
            name="misses a constraint" if is_missed else "trial",
            text=[hover(experiment, trial) for trial in shown],
            hovertemplate="%{text}<extra></extra>",
            marker=markers(experiment, shown),
            showlegend=False,
        )
    kinds = {
        ("finished", "circle"): any(t.state is TrialState.SUCCEEDED for t in usable),
        ("stopped", "x"): any(t.state is TrialState.STOPPED for t in usable),
        ("misses a constraint", "circle-open"): any(violation(experiment, t) for t in usable),
    }
    for (name, symbol), is_there in kinds.items():
        if is_there:
            figure.add_trace(_legend_entry(name, symbol))
    # Of few trials, plotly would name a number twice: at it, and half way to the next.
    step = {"dtick": 1} if len(trials) <= 12 else {}
    figure.update_xaxes(title="trial number", tickformat="d", **step)
    return styled(figure, height=380)


def parallel_coordinates(experiment: Experiment, trials: Sequence[Trial]) -> Drawing:
    """Draw each trial as a line through its assignments and objectives."""
    if sum(is_usable(experiment, trial) for trial in trials) < 2:
        return "Parallel coordinates need at least two trials with a result."
    names = [objective.name for objective in experiment.objective]
    rebuilt = study(experiment, trials, experiment.objective)
    figure = plot_parallel_coordinate(rebuilt, target_name=names[0])
    _colour_lines(figure, experiment, trials)
    # Optuna cuts long names to one and the same beginning; its axes follow the sorted names.
    axes = [*names, *sorted({n for trial in rebuilt.trials for n in trial.params})]
    figure.update_xaxes(ticktext=[formatting.short_name(name) for name in axes], automargin=True)
    figure.layout.annotations = [
        tick.update(font={"color": None}, bgcolor=PAGE_COLOUR, borderpad=1)
        for tick in figure.layout.annotations
        if not ("." in tick.text and _is_whole(experiment, axes[int(tick.x)]))
    ]
    styled(figure, height=440)
    return figure.update_layout(margin={"t": 40, "l": 40}, plot_bgcolor="rgba(0,0,0,0)")


def importance_bars(shares: Mapping[str, Mapping[str, float]]) -> Drawing:
    """Draw each parameter's share of the importance for each objective."""
    names = list(next(iter(shares.values())))
    figure = go.Figure()
    for (objective, found), colour in zip(
        shares.items(), (BLUE, ORANGE, GREEN, GREY), strict=False
    ):
        figure.add_bar(
            y=names[::-1],
            x=[found.get(name, 0.0) for name in names[::-1]],
            name=objective,
            orientation="h",
            marker_color=colour,
            texttemplate="%{x:.0%}",
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    largest = max(part for found in shares.values() for part in found.values())
    figure.update_xaxes(
        title="share of the importance for being among the best (PED-ANOVA)",
        tickformat=".0%",
        range=[0, largest * 1.12],
    )
    figure.update_yaxes(automargin=True)
    figure.update_layout(showlegend=len(shares) > 1, bargap=0.35)
    return styled(figure, height=90 + 34 * len(names) * max(1, len(shares)))


def slice_plot(
    experiment: Experiment, trials: Sequence[Trial], objective: Objective, *, name: str
) -> Drawing:
    """Draw the objective over one parameter."""
    rebuilt = study(experiment, trials, [objective])
    complete = rebuilt.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))
    if not any(name in trial.params for trial in complete):
        return f"No trial with a result varies {name}."
    figure = plot_slice(rebuilt, params=[name], target_name=objective.name)
    for trace in figure.data:
        if "Infeasible" in trace.name:
            trace.marker.update(symbol="circle-open", color=GREY, line={"width": 1.5})
            continue
        states = [trials[number].state for number in trace.marker.color]
        trace.marker.update(
            symbol=["x" if state is TrialState.STOPPED else "circle" for state in states],
            colorscale=AGES,
            showscale=False,
        )
    figure.update_traces(marker_size=8, hoverinfo="x+y")
    figure.update_xaxes(_ticks(experiment.space[name]), tickangle=0)
    return styled(figure, height=260).update_layout(margin={"t": 8, "r": 8, "l": 56})


def markers(experiment: Experiment, trials: Sequence[Trial]) -> dict[str, object]:
    """Return plotly's markers of trials: state by colour and shape, constraints by filling."""
    shapes = ["x" if trial.state is TrialState.STOPPED else "circle" for trial in trials]
    is_missed = [violation(experiment, trial) > 0 for trial in trials]
    return {
        "size": 9,
        "color": [STATE_COLOURS[trial.state] for trial in trials],
        "symbol": [s + "-open" * missed for s, missed in zip(shapes, is_missed, strict=True)],
        "line": {"width": [1.5 if missed else 0 for missed in is_missed]},
    }


def hover(experiment: Experiment, trial: Trial) -> str:
    """Return what a plot says about a trial under the pointer (plotly reads some HTML)."""
    lines = [f"<b>{escape(trial.name)}</b> ({trial.state.value})"]
    lines += [f"{o.name} {formatting.number(o.value(trial.metrics))}" for o in experiment.objective]
    lines += [f"{escape(n)} = {escape(formatting.value(v))}" for n, v in trial.assignments.items()]
    if violation(experiment, trial) > 0:
        lines.append("misses a constraint")
    return "<br>".join(lines)


def styled(figure: go.Figure, *, height: int) -> go.Figure:
    """Give a figure the look that all of them share; the page has the heading."""
    figure.update_layout(
        title=None,
        height=height,
        autosize=True,
        margin={"l": 60, "r": 20, "t": 24, "b": 48},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"align": "left"},
    )
    return figure


def _colour_lines(figure: go.Figure, experiment: Experiment, trials: Sequence[Trial]) -> None:
    """Colour the lines by the first objective: Optuna's palest ones are lost on a white page."""
    objective = experiment.objective[0]
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    values = [objective.value(trial.metrics) for trial in usable]
    is_reversed = objective.goal == "minimize"
    for trace in figure.data:
        if trace.mode == "markers":
            trace.marker.update(
                color=[min(values), max(values)],
                cmin=min(values),
                cmax=max(values),
                colorscale=QUALITIES,
                reversescale=is_reversed,
            )
            trace.marker.colorbar.update(title=objective.name, tickvals=None, thickness=12)
        elif trace.showlegend:
            trace.line.color = GREY
            trace.name = {"Feasible": "meets the constraints"}.get(trace.name, "misses one")
        else:
            place = 1 - trace.y[0] if is_reversed else trace.y[0]
            trace.line.color = sample_colorscale(QUALITIES, [place])[0]
            trace.opacity = 0.7


def _is_whole(experiment: Experiment, name: str) -> bool:
    return name in experiment.space and experiment.space[name].type == "int"


def _ticks(parameter: FloatParameter | IntParameter | ChoiceParameter) -> dict[str, object]:
    """Return whole numbers for few integers and powers of ten for a wide logarithmic range."""
    if parameter.type == "int" and parameter.high - parameter.low <= 8:
        return {"dtick": 1, "tickformat": "d"} if not parameter.log else {}
    if parameter.type != "choice" and parameter.log and parameter.high >= 10 * parameter.low:
        return {"dtick": 1, "exponentformat": "power"}
    return {}


def _legend_entry(name: str, symbol: str) -> go.Scatter:
    colour = ORANGE if name == "stopped" else BLUE
    marker = {"symbol": symbol, "color": colour, "size": 9}
    return go.Scatter(x=[None], y=[None], mode="markers", name=name, marker=marker)
