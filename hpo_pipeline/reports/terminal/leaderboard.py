"""The leaderboard on a terminal: the best trials with objectives, practical metrics, assignments.

`hpo status` prints it; what does not fit the terminal is cut by rich, not wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.verdict import Verdict
from hpo_pipeline.reports import formatting
from hpo_pipeline.results.baseline import MARK, baseline_name
from hpo_pipeline.results.ranking import judged
from hpo_pipeline.results.trial import Trial, TrialState

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

STATE_STYLES = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.SUCCEEDED: "green",
    TrialState.STOPPED: "yellow",
    TrialState.FAILED: "red",
}
PRACTICAL = ("latency_p95_ms", "model_size_mb")
VERDICTS = {
    Verdict.MISSED: ("red", "misses a constraint"),
    Verdict.UNDECIDED: ("yellow", "its interval leaves a constraint undecided"),
}
"""Styles, which rich knows by their names, and what they mean; the worse first."""


def leaderboard(
    experiment: Experiment, trials: Sequence[Trial], *, winner: str | None = None
) -> Table:
    """Return a table of trials in the given order, which is the ranking, best first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    metrics = _metrics(experiment)
    for name in ("#", *(o.name for o in experiment.objective), *metrics):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("trial", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("assignments")
    baseline = baseline_name(experiment, trials)
    for place, trial in enumerate(trials, start=1):
        is_winner = trial.name == winner
        table.add_row(
            str(place),
            *(formatting.number(o.value(trial.metrics)) for o in experiment.objective),
            *(_metric(experiment, trial, name) for name in metrics),
            Text(trial.name + " ★" * is_winner + MARK * (trial.name == baseline)),
            Text(trial.state.value, STATE_STYLES[trial.state]),
            cut(Text(formatting.assignments(trial.assignments))),
            style="bold" if is_winner else None,
        )
    said = [VERDICTS[verdict] for verdict in VERDICTS if verdict in _verdicts(experiment, trials)]
    table.caption = "; ".join(f"{style}: {meaning}" for style, meaning in said) or None
    return table


def cut(text: Text) -> Text:
    """Return the text so that it is cut at the edge of the terminal.

    rich narrows columns that may wrap before any other, so the column itself must be of that kind.
    """
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _metrics(experiment: Experiment) -> list[str]:
    constrained = [n for text in experiment.constraints for n in sorted(Constraint(text).names)]
    objectives = {objective.name for objective in experiment.objective}
    return [n for n in dict.fromkeys([*constrained, *PRACTICAL]) if n not in objectives]


def _metric(experiment: Experiment, trial: Trial, name: str) -> Text:
    from rich.text import Text

    reading = [text for text in experiment.constraints if name in Constraint(text).names]
    found = {judged(text, trial) for text in reading}
    style = next((style for verdict, (style, _) in VERDICTS.items() if verdict in found), "")
    return Text(formatting.sampled(trial.metrics.get(name), trial.intervals.get(name)), style)


def _verdicts(experiment: Experiment, trials: Sequence[Trial]) -> set[Verdict]:
    return {judged(text, trial) for text in experiment.constraints for trial in trials}
