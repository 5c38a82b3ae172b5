"""The leaderboard of the page: every trial with all that is known about it, best first.

The ranking is selection.rank's. Cells carry the plain value beside the written one, by which
the page's script sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value, render
from hpo_pipeline.experiment.verdict import Verdict
from hpo_pipeline.reports import formatting
from hpo_pipeline.results.baseline import MARK, baseline_name
from hpo_pipeline.results.ranking import is_undecided, judged, pareto_front, rank, violation
from hpo_pipeline.results.trial import Trial, TrialState

Cell = tuple[str, str | float]
"""What a cell shows, as HTML, and what it is sorted by; "" comes last."""

EMPTY: Cell = ("", "")
SHOWN = 500
"""Rows that are laid out at once: a browser takes seconds for those of ten thousand trials."""


@dataclass(frozen=True)
class Column:
    """One column: its heading, what explains it, and its cell of a trial."""

    name: str
    cell: Callable[[Trial], Cell]
    meaning: str = ""
    is_number: bool = True


def leaderboard(experiment: Experiment, trials: Sequence[Trial], *, winner: str | None) -> str:
    """Return the table of all trials."""
    ranked = rank(experiment, trials)
    places = {trial.name: place for place, trial in enumerate(ranked, start=1)}
    others = [trial for trial in trials if trial.name not in places]
    columns = _columns(experiment, trials, places=places, winner=winner)
    head = "".join(
        f'<th scope="col" title="{escape(column.meaning)}">'
        f'<button class="{_align(column)}">{escape(column.name)}</button></th>'
        for column in columns
    )
    rows = [_row(columns, trial, is_winner=trial.name == winner) for trial in ranked]
    rows += [_row(columns, trial, is_winner=False) for trial in others]
    return (
        '<p class="soft">Best first. A click on a heading sorts; the table scrolls both ways.</p>'
        f'<div class="box"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows[:SHOWN])}</tbody>{_rest(rows)}"
    )


def _rest(rows: Sequence[str]) -> str:
    """Return the end of the table: rows after the first ones, which a click shows, if any."""
    if len(rows) <= SHOWN:
        return "</table></div>"
    return (
        f"<tbody hidden>{''.join(rows[SHOWN:])}</tbody></table></div>"
        "<noscript><style>tbody[hidden] { display: table-row-group; }</style></noscript>"
        f'<button class="rest">Show all {formatting.number(len(rows))} trials</button>'
    )


def constraint_notes(experiment: Experiment, trial: Trial) -> list[str]:
    """Say which constraints a trial with a result misses, by how much, and which are undecided."""
    notes = []
    for text in experiment.constraints:
        found = judged(text, trial)
        if found is Verdict.UNDECIDED:
            notes.append(f"{text} undecided: its interval reaches over the limit")
        elif found is Verdict.MISSED:
            missed = Constraint(text).violation(trial.metrics)
            notes.append(
                f"{text} missed by {formatting.number(missed)}".replace("by —", "(no value)")
            )
    return notes


def _columns(
    experiment: Experiment,
    trials: Sequence[Trial],
    *,
    places: dict[str, int],
    winner: str | None,
) -> list[Column]:
    objectives = [o.name for o in experiment.objective]
    known = experiment.task.metric_names
    measured = {name for trial in trials for name in trial.metrics}
    others = [*(n for n in known if n in measured), *sorted(measured - set(known))]
    # What a deployment pays for comes first: the rest is seen by scrolling.
    names = sorted(others, key=lambda name: name not in PRACTICAL_METRICS)
    goals = {o.name: f"objective: {o.goal} {o.score or o.name}" for o in experiment.objective}

    def metric(name: str) -> Column:
        return Column(
            name,
            lambda trial: _sampled(experiment, trial, name),
            goals.get(name) or known.get(name, ""),
        )

    def parameter(name: str) -> Column:
        return Column(
            formatting.short_name(name), lambda trial: _value(trial.assignments.get(name)), name
        )

    baseline = baseline_name(experiment, trials)
    front = _front(experiment, places, trials)
    pareto = [
        Column("Pareto front", lambda t: _member(t, front), "no trial beats it", is_number=False)
    ]
    met = [Column("constraints", lambda t: _constraints(experiment, t, places), is_number=False)]
    return [
        Column("#", lambda t: _number(places.get(t.name)), "rank: constraints, then objective"),
        Column("trial", lambda t: _name(t, winner=winner, baseline=baseline), is_number=False),
        Column("state", lambda t: _state(experiment, t, places), is_number=False),
        *map(metric, objectives),
        *(pareto if len(objectives) > 1 else ()),
        *(met if experiment.constraints else ()),
        *map(parameter, experiment.space),
        *(metric(name) for name in names if name not in objectives),
        Column("evaluations", lambda t: _number(len(t.curve))),
        Column("training steps", lambda t: _number(t.training_steps)),
        Column("seconds", lambda t: _number(sum(t.seconds.values())), "wall time of all phases"),
    ]


def _row(columns: Sequence[Column], trial: Trial, *, is_winner: bool) -> str:
    cells = []
    for column in columns:
        shown, key = column.cell(trial)
        # The script sorts by what is shown where there is no key.
        key = "" if str(key) == shown else f' data-key="{escape(str(key))}"'
        text = "" if column.is_number else ' class="text"'
        cells.append(f"<td{text}{key}>{shown}</td>")
    opening = '<tr class="winner">' if is_winner else "<tr>"
    return f"{opening}{''.join(cells)}</tr>"


def _align(column: Column) -> str:
    return "number" if column.is_number else "text"


def _name(trial: Trial, *, winner: str | None, baseline: str | None) -> Cell:
    marks = " ★" * (trial.name == winner) + MARK * (trial.name == baseline)
    return f"{escape(trial.name)}{marks}", trial.number


def _state(experiment: Experiment, trial: Trial, places: dict[str, int]) -> Cell:
    notes = [trial.reason] if trial.reason else []
    if trial.reused_from:
        notes.append(f"result of {trial.reused_from}, which has the same assignments")
    if trial.name not in places and trial.state in (TrialState.SUCCEEDED, TrialState.STOPPED):
        missing = sorted(experiment.reads - set(trial.metrics))
        notes.append(f"no objective; missing: {', '.join(missing) or 'a finite value'}")
    chip = f'<span class="chip {trial.state.value}">{trial.state.value}</span>'
    reasons = "".join(f'<span class="reason">{escape(note)}</span>' for note in notes)
    return chip + reasons, trial.state.value


def _front(
    experiment: Experiment, places: dict[str, int], trials: Sequence[Trial]
) -> frozenset[str]:
    allowed = [t for t in trials if t.name in places and not violation(experiment, t)]
    return frozenset(trial.name for trial in pareto_front(experiment.objective, allowed))


def _member(trial: Trial, front: frozenset[str]) -> Cell:
    return ('<span class="met">on it</span>', "on it") if trial.name in front else EMPTY


def _constraints(experiment: Experiment, trial: Trial, places: dict[str, int]) -> Cell:
    if trial.name not in places:
        return EMPTY
    notes = constraint_notes(experiment, trial)
    if not notes:
        return '<span class="met">met</span>', "met"
    reasons = "".join(f'<span class="reason">{escape(note)}</span>' for note in notes)
    word = "undecided" if is_undecided(experiment, trial) else "missed"
    return f'<span class="{word}">{word}</span>{reasons}', word


def _sampled(experiment: Experiment, trial: Trial, name: str) -> Cell:
    """Return a metric; a pointer on it shows its interval."""
    value = with_score(trial.metrics, experiment.objective).get(name)
    if value is None or name not in trial.intervals:
        return _number(value)
    words = formatting.sampled(value, trial.intervals[name])
    return f'<span title="95 % interval: {words}">{formatting.number(value)}</span>', value


def _number(value: float | None) -> Cell:
    return EMPTY if value is None else (formatting.number(value), value)


def _value(value: Value | None) -> Cell:
    if value is None:
        return EMPTY
    is_text = isinstance(value, bool | str)
    return escape(formatting.value(value)), render(value) if is_text else value
