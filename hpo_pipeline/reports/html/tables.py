"""The parts of the page that are words and small tables: headline, constraints, environment.

Everything from outside is escaped here: names, reasons, formulas, versions.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from html import escape

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.experiment.verdict import Verdict
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.html.findings import steps_saved
from hpo_pipeline.reports.sharing import shareable
from hpo_pipeline.reports.worth import worth
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.ranking import is_usable, judged, rank, violation
from hpo_pipeline.results.trial import (
    ONE_PROCESS,
    OTHERS,
    TIMED_IN,
    TIMES_MEASURED,
    Trial,
    TrialState,
)


def headline(experiment: Experiment, result: SearchResult, best: Trial | None) -> str:
    """Return the head of the page: what was searched, its state, and the winner."""
    goals = ", ".join(f"{o.goal} {o.score or o.name}" for o in experiment.objective)
    task = experiment.task
    reason = f'<p class="failed">{escape(result.reason)}</p>' if result.reason else ""
    return (
        f'<header><h1>{escape(experiment.name)}<span class="chip {escape(result.state)}">'
        f"{escape(result.state)}</span></h1>"
        f'<p class="soft">{escape(task.kind)}: {escape(goals)}'
        f"{escape(_origin(task))}</p></header>"
        f"{_worth_words(experiment, result)}{reason}{_winner_words(experiment, result, best)}"
        f"{_tiles(experiment, result, best)}{_winner_table(experiment, result, best)}"
    )


def constraints(experiment: Experiment, trials: Sequence[Trial], best: Trial | None) -> str:
    """Return a table of the constraints: how many trials meet each, and the winner's values.

    Empty where the experiment has none.
    """
    if not experiment.constraints:
        return ""
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    rows = []
    for text in experiment.constraints:
        found = [judged(text, trial) for trial in usable]
        met = f"{found.count(Verdict.MET)} of {len(usable)}"
        unknown = found.count(Verdict.UNDECIDED)
        met += f", {unknown} undecided" if unknown else ""
        names = sorted(Constraint(text).names) if best else []
        shown = ", ".join(f"{n} {_of_trial(best, n)}" for n in names)
        rows.append((text, met, shown or formatting.UNKNOWN))
    return table(("constraint", "trials that meet it", "the best trial"), rows)


DATA_NOTES = "data notes"
"""Entry of a run's info that has a section of its own: a sentence a line."""


def data_notes(run_info: Mapping[str, str]) -> str:
    """Return what was left out of the data, merged or cut; empty where nothing was."""
    lines = run_info.get(DATA_NOTES, "").splitlines()
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def environment(trials: Sequence[Trial], run_info: Mapping[str, str]) -> str:
    """Return a table of versions and machine facts; one that differs shows all its values."""
    found: dict[str, dict[str, None]] = {}
    for trial in trials:
        for name, text in trial.environment.items():
            found.setdefault(name, {})[text] = None
    rows = [(name, text) for name, text in run_info.items() if text and name != DATA_NOTES]
    rows += [(n, ", ".join(texts)) for n, texts in found.items() if [*texts] != [run_info.get(n)]]
    if not rows:
        return '<p class="absent">The run did not record its environment.</p>'
    return table(("what", "value"), rows)


def confirmed(experiment: Experiment, result: SearchResult) -> str:
    """Return a table of the configurations that were trained again with other seeds.

    Empty where there is none. The trial's own value is shown beside the mean: how much of it was
    luck is what the table is about.
    """
    if not result.confirmed:
        return ""
    searched = {trial.name: trial for trial in result.trials}
    heads = ["configuration", "seeds"]
    for objective in experiment.objective:
        heads += [f"{objective.name}, mean ± std", "in the search"]
    rows = []
    for found in result.confirmed:
        row = [found.trial, ", ".join(map(str, found.seeds)) or formatting.UNKNOWN]
        for objective in experiment.objective:
            own = searched[found.trial].metrics if found.trial in searched else {}
            row += [
                formatting.spread(found, objective.name),
                formatting.number(objective.value(own)),
            ]
        reasons = [f"seed {seed}: {reason}" for seed, reason in found.failed.items()]
        rows.append((*row, formatting.assignments(found.assignments), "; ".join(reasons)))
    heads += ["assignments", "failed"]
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    numbers = range(2, 2 + 2 * len(experiment.objective))
    return (
        "<p>The best configurations, each trained again with other seeds; best mean first. Their "
        "own results in the search, which luck had a part in, do not count.</p>"
        + table(heads, rows, numbers=numbers)
    )


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Container[int] = ()
) -> str:
    """Return a plain table; every cell is escaped.

    Args:
        numbers: the columns that stand to the right.
    """
    kinds = ["number" if column in numbers else "wrap" for column in range(len(heads))]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(text)}</th>'
        for kind, text in zip(kinds, heads, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="box"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _origin(task: Task) -> str:
    """Return the base model and the data, as far as the task names them."""
    names = " on ".join(shareable(name) for name in (task.model, *task.sources) if name)
    return f"; {names}" if names else ""


def _winner_words(experiment: Experiment, result: SearchResult, best: Trial | None) -> str:
    if best is None:
        closest = next(iter(rank(experiment, result.trials)), None)
        if closest is None:
            return "<p>No trial has a result yet.</p>"
        return (
            f"<p>No trial meets all constraints; {escape(closest.name)} comes closest, missing "
            f"them by {formatting.number(violation(experiment, closest))} in sum.</p>"
        )
    role = "The winner is" if result.winner else "Best so far is"
    settings = ", ".join(f"{n} = {formatting.value(v)}" for n, v in best.assignments.items())
    words = f"<p>{role} <strong>{escape(best.name)}</strong> with {escape(settings)}.</p>"
    won = result.winner
    if won and won.run:
        words += (
            f"<p>Model and metrics are those of {escape(won.run)}, the middle one of its runs with "
            "other seeds.</p>"
        )
    if won and won.registered:
        words += f"<p>Registered as {escape(won.registered)}.</p>"
    if won and won.note:
        words += f'<p class="soft">{escape(won.note)}</p>'
    return words + _baseline_words(result)


def _worth_words(experiment: Experiment, result: SearchResult) -> str:
    said = worth(experiment, result)
    return f"<p><strong>{escape(said)}</strong></p>" if said else ""


def _baseline_words(result: SearchResult) -> str:
    """Say which trial is the baseline, and what about it, or why there is none."""
    notes = "; ".join(result.baseline_notes)
    if result.baseline is None:
        return f'<p class="soft">No baseline: {escape(notes)}.</p>' if notes else ""
    said = f": {escape(notes)}" if notes else ""
    return f'<p class="soft">The baseline is {escape(result.baseline)}{said}.</p>'


def _tiles(experiment: Experiment, result: SearchResult, best: Trial | None) -> str:
    tiles = []
    test = result.winner.test if result.winner else {}
    for objective in experiment.objective:
        if best is not None:
            measured = result.winner.metrics if result.winner else best.metrics
            shown = formatting.number(objective.value(measured))
            tiles.append((shown, f"{objective.name} on validation rows"))
        if test and objective.reads <= set(test):
            shown = formatting.number(objective.value(test))
            tiles.append((shown, f"{objective.name} on {experiment.task.gate_rows}"))
    counts = result.counts()
    finished = sum(counts.get(s.value, 0) for s in TrialState if s.is_final)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    planned = experiment.budget.trials + result.added_trials
    tiles.append((f"{finished} of {planned}", f"trials done: {states or 'none'}"))
    tiles.append((formatting.duration(result.seconds), f"{experiment.budget.parallel} in parallel"))
    saved = steps_saved(experiment, result.trials)
    if saved:
        tiles.append((f"{saved[1]:.0%}", f"≈ {formatting.number(saved[0])} training steps saved"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>'
            for big, small in tiles
        )
        + "</div>"
    )


def _winner_table(experiment: Experiment, result: SearchResult, best: Trial | None) -> str:
    """Return the winner's metrics; means over classes that nobody asked for are folded away."""
    if best is None:
        return ""
    won = result.winner
    validation = with_score(won.metrics if won else best.metrics, experiment.objective)
    test = with_score(won.test, experiment.objective) if won else {}
    intervals = won.intervals if won else best.intervals
    tested = won.test_intervals if won else {}
    meanings = experiment.task.metric_names
    names = [*(o.name for o in experiment.objective), *meanings, *validation, *test]
    rows = [
        (
            name,
            formatting.sampled(validation.get(name), intervals.get(name)),
            formatting.sampled(test.get(name), tested.get(name)),
            meanings.get(name, ""),
        )
        for name in dict.fromkeys(names)
        if name in validation or name in test
    ]
    folded = [
        row
        for row in rows
        if row[0].endswith(("_macro", "_weighted")) and row[0] not in experiment.reads
    ]
    heads = ("metric", "validation", "test (held out)", "meaning")
    shown = table(heads, [row for row in rows if row not in folded], numbers=(1, 2))
    more = table(heads, folded, numbers=(1, 2))
    return (
        f"<h3>The best trial's metrics</h3>{_timing_note(best)}{shown}"
        + f"<details><summary>{len(folded)} more</summary>{more}</details>" * bool(folded)
    )


def _of_trial(trial: Trial | None, name: str) -> str:
    if trial is None:
        return ""
    return formatting.sampled(trial.metrics.get(name), trial.intervals.get(name))


def _timing_note(best: Trial) -> str:
    """Say what the numbers in brackets are, where there are any."""
    if not best.intervals:
        return ""
    quiet = {
        "alone": ", while the other trials stood still",
        "beside other trials": ", while other trials ran, for none gave way in time",
    }.get(best.environment.get(TIMES_MEASURED, ""), "")
    if disturbed := best.environment.get(OTHERS):
        quiet += f" (other processes {disturbed}: expect less on a quiet machine)"
    processor = best.environment.get("processor", "")
    machine = f" on {processor}" if processor else ""
    if (timed_in := best.environment.get(TIMED_IN, ONE_PROCESS)) != ONE_PROCESS:
        machine += f" in {timed_in}"
    return (
        f'<p class="soft">Times were measured{escape(machine)}{quiet}; in brackets are their 95 % '
        "intervals.</p>"
    )
