"""A run in short: the numbers and the Markdown that a pipeline's page shows.

Pure functions of what a run folder holds; the whole story is in the report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.worth import worth
from hpo_pipeline.results.baseline import MARK
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.ranking import listed, rank
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.spending import seconds_saved, seconds_used, spending
from hpo_pipeline.results.trial import Trial, TrialState

MAX_ROWS = 50
PRACTICAL = ("latency_p95_ms", "model_size_mb")


def figures(experiment: Experiment, result: SearchResult) -> dict[str, float]:
    """Return the numbers of a run: its best objective, its trials by state, what it took.

    `gpu_seconds_saved` is what the stopped trials would have needed at their own pace to
    evaluate as often as the trials that ran to their end.
    """
    counts = {state.value: 0 for state in (*_ENDS,)} | result.counts()
    found: dict[str, float] = {
        "trials": float(len(result.trials)),
        **{state.value: float(counts[state.value]) for state in _ENDS},
    }
    best = rank(experiment, result.trials)[:1]
    for objective in experiment.objective if best else ():
        found[f"best_{objective.name}"] = objective.value(best[0].metrics)
    if result.winner is not None:
        found |= {f"test_{name}": value for name, value in _shown(experiment, result).items()}
    used, saved = seconds_used(result.trials), seconds_saved(experiment, result.trials)
    found |= {"trial_seconds": used, "trial_seconds_saved": saved}
    gpus = max(1, experiment.cluster.gpus) if _uses_gpu(experiment, result.trials) else 0
    if (money := spending(experiment, result.trials)) is not None:
        found |= {"search_cost": money.spent, "search_cost_saved": money.saved}
    return {**found, "gpu_seconds": gpus * used, "gpu_seconds_saved": gpus * saved}


def markdown(experiment: Experiment, result: SearchResult, state: RunState | None = None) -> str:
    """Return a run as Markdown: how it ended, the winner, the leaderboard."""
    counts = ", ".join(f"{count} {name}" for name, count in result.counts().items())
    reason = f": {_plain(result.reason)}" if result.reason else ""
    said = worth(experiment, result)
    lines = [f"# {experiment.name}: {result.state}{reason}", ""]
    lines += [f"**{_plain(said)}**", ""] if said else []
    lines += [f"{counts or 'no trials'}."]
    winner = result.winner
    if winner is not None:
        lines += ["", f"**Winner** `{winner.name}`: {formatting.assignments(winner.assignments)}"]
        if winner.test:
            tested = _shown(experiment, result).items()
            lines += ["", "On the test rows: " + ", ".join(f"{n} {_number(v)}" for n, v in tested)]
        if winner.registered:
            lines += ["", f"**{_plain(winner.registered)}**: {_plain(winner.note or '')}"]
    gate = state.gate if state else None
    if gate and gate.reason and not (winner and winner.registered):
        lines += ["", f"Gate: {_plain(gate.reason)}"]
    return "\n".join([*lines, "", *_leaderboard(experiment, result)]) + "\n"


_ENDS = (TrialState.SUCCEEDED, TrialState.STOPPED, TrialState.FAILED)


def _leaderboard(experiment: Experiment, result: SearchResult) -> list[str]:
    names = list(dict.fromkeys([*(o.name for o in experiment.objective), *PRACTICAL]))
    parameters = list(experiment.space)
    head = ["", "trial", "state", *names, *(formatting.short_name(p) for p in parameters)]
    ranked, others = listed(experiment, result.trials)
    rows = [head, ["---"] * len(head)]
    for place, trial in enumerate([*ranked, *others][:MAX_ROWS], start=1):
        values = [_number(trial.metrics.get(name)) for name in names]
        chosen = [
            formatting.value(trial.assignments[p]) if p in trial.assignments else ""
            for p in parameters
        ]
        mark = str(place) if trial in ranked else ""
        state = trial.state.value + (f": {_plain(trial.reason)}" if trial.reason else "")
        name = trial.name + MARK * (trial.name == result.baseline)
        rows.append([mark, name, state, *values, *chosen])
    left = len(result.trials) - MAX_ROWS
    table = ["| " + " | ".join(row) + " |" for row in rows]
    return [*table, "", f"{left} more in the report."] if left > 0 else table


def _shown(experiment: Experiment, result: SearchResult) -> dict[str, float]:
    test = result.winner.test if result.winner else {}
    names = [*(o.name for o in experiment.objective), "accuracy", "f1", *PRACTICAL]
    return {name: test[name] for name in dict.fromkeys(names) if name in test}


def _uses_gpu(experiment: Experiment, trials: Sequence[Trial]) -> bool:
    devices = {t.environment.get("device") for t in trials} - {None}
    return devices != {"CPU"} if devices else experiment.cluster.gpus > 0


def _number(value: float | None) -> str:
    return "" if value is None else formatting.number(value)


def _plain(text: str) -> str:
    """Return a text of a log in one line, without markup: no link, image, tag or table cell."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    marked = " ".join(shown.split()).replace("\\", "\\\\").replace("<", "&lt;")
    return re.sub(r"([|\[\]!`])", r"\\\1", marked)
