"""What the commands print: results, trials, assets and models as tables on a terminal.

Names and reasons come from run folders, pods and registries that others wrote: no console of this
module interprets markup, and control characters are printed as escapes.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpo_pipeline.data.assets import ASSETS, cache_folder, is_fetched
from hpo_pipeline.errors import RunFolderError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import render
from hpo_pipeline.registry import Registry
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.comparison import Comparison
from hpo_pipeline.reports.terminal import leaderboard
from hpo_pipeline.reports.worth import worth
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.ranking import listed, rank
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial

CLASSES = ("accuracy", "f1")
"""What is shown of a classification; of other tasks all metrics of quality are."""
COSTS = ("loss", "latency_p50_ms", "latency_p95_ms", "model_size_mb")
LEADERBOARD_ROWS = 20
SHOWN_TEXT = 60
CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories, with half surrogates


def print_result(experiment: Experiment, folder: RunFolder, result: SearchResult) -> None:
    """Print a run: the leaderboard, the winner, and where everything is."""
    console = _console()
    if (said := worth(experiment, result)) is not None:
        _say(console, said)
    ranked = rank(experiment, result.trials)
    if ranked:
        name = result.winner.name if result.winner else None
        console.print(leaderboard(experiment, ranked[:LEADERBOARD_ROWS], winner=name))
        if len(ranked) > LEADERBOARD_ROWS:
            _say(console, f"{len(ranked) - LEADERBOARD_ROWS} more in leaderboard.csv")
    if result.confirmed:
        console.print(_confirmed(experiment, result))
    counts = ", ".join(f"{count} {state}" for state, count in result.counts().items())
    reason = f": {result.reason}" if result.reason else ""
    state = f"{result.experiment} {result.state}{reason}"
    _say(console, f"{state}; {counts or 'no trials'}; {result.seconds:.0f} s")
    if result.winner is not None:
        chosen = ", ".join(f"{n}={render(v)}" for n, v in result.winner.assignments.items())
        _say(console, f"winner  {result.winner.name}: {chosen}")
        if result.winner.run:
            _say(console, f"trained as {result.winner.run}")
        if result.winner.test:
            objectives = [o.name for o in experiment.objective]
            _say(console, f"test    {metrics_line(result.winner.test, objectives)}")
        model = result.winner.model or ""
        _say(console, f"model   {model if ':' in model else _short(Path(model))}")
    if result.winner is not None and result.winner.registered:
        note = result.winner.note or ""
        _say(console, f"registered as {result.winner.registered}: {note}")
    if damaged := folder.damaged_trials():
        _say(console, f"damaged {', '.join(damaged)}: `hpo run` trains them again")
    if folder.report.exists():
        _say(console, f"report  {_short(folder.report)}")
    elif result.state == "interrupted":
        _say(console, "run the same command to resume")


def print_trials(experiment: Experiment, result: SearchResult, *, as_json: bool) -> None:
    """Print a search without a run folder: an experiment in a cluster."""
    if as_json:
        print(json.dumps(result.summary(), indent=2))
        return
    console = _console()
    ranked, others = listed(experiment, result.trials)
    shown = [*ranked, *others][:LEADERBOARD_ROWS]
    console.print(leaderboard(experiment, shown))
    counts = ", ".join(f"{count} {state}" for state, count in result.counts().items())
    reason = f": {result.reason}" if result.reason else ""
    _say(console, f"{result.experiment} {result.state}{reason}; {counts}; {result.seconds:.0f} s")


def print_trial(experiment: Experiment, folder: RunFolder, wanted: str) -> None:
    """Print one trial with its curve and the path of its log.

    Raises:
        RunFolderError: there is no such trial.
    """
    trials = folder.result().trials
    found = [t for t in trials if wanted in (t.name, str(t.number))]
    others = folder.confirmation
    found += [t for t in others.finished_trials() if wanted == t.name]
    if not found:
        names = f"{trials[0].name} to {trials[-1].name}" if trials else "none yet"
        raise RunFolderError(f"{folder.path}: has no trial {wanted!r}; its trials are {names}")
    trial, console = found[0], _console()
    _say(console, f"{trial.name}: {trial.state.value}")
    if trial.reason:
        _say(console, f"reason: {trial.reason}")
    _print_pairs(console, "assignments", {n: render(v) for n, v in trial.assignments.items()})
    _print_pairs(console, "metrics", _with_intervals(trial))
    _print_pairs(console, "seconds", {n: f"{v:.2f}" for n, v in trial.seconds.items()})
    _print_curve(console, experiment, trial)
    place = folder.trials if trial in trials else others.trials
    log = place / trial.name / "log.txt"
    if log.exists():
        _say(console, f"log: {_short(log)}")


def print_comparison(found: Comparison) -> None:
    """Print runs side by side, a table for each subject; stars mark the best values."""
    console = _console()
    for note in found.notes:
        _say(console, note)
    for group in found.tables:
        table = _table(group.title, *map(printable, found.runs))
        for row in group.rows:
            cells = [text + " ★" * (i == row.best) for i, text in enumerate(row.shown)]
            _add_row(table, row.name, *cells)
        _say(console, "")
        console.print(table)


def print_assets() -> None:
    """Print the models and data that experiments can name."""
    table = _table("name", "kind", "MB", "licence", "fetched", "what it is")
    for name, asset in ASSETS.items():
        size = "" if asset.is_built_in else f"{asset.size / 1e6:.1f}"
        there = "built in" if asset.is_built_in else _yes(is_fetched(asset, cache_folder()))
        _add_row(table, name, asset.kind, size, asset.licence, there, asset.description)
    _console().print(table)


def print_models(registry: Registry) -> None:
    """Print the registered models and their champions."""
    table = _table("model", "versions", "champion", "trial", "test metrics of the champion")
    names = registry.names()
    if not names:
        _say(_console(), "no models here; --registry names another place, such as a cluster's")
        return
    for name in names:
        champion = registry.champion(name)
        row = (
            ("none", "", "")
            if champion is None
            else (str(champion.version), champion.trial, metrics_line(champion.test_metrics))
        )
        _add_row(table, name, str(len(registry.versions(name))), *row)
    _console().print(table)


def print_versions(registry: Registry, name: str) -> None:
    """Print the versions of a model, the latest last."""
    table = _table("version", "stage", "created", "experiment", "trial", "test metrics", "why")
    for record in registry.versions(name):
        _add_row(
            table,
            str(record.version),
            record.stage.value,
            record.created[:19],
            record.experiment,
            record.trial,
            metrics_line(record.test_metrics),
            record.reason,
        )
    _console().print(table)


def print_history(registry: Registry, name: str) -> None:
    """Print what happened to a model."""
    table = _table("time", "version", "what", "why")
    for event in registry.history(name):
        _add_row(table, event.time[:19], str(event.version), event.kind.value, event.reason)
    _console().print(table)


def print_answers(rows: Sequence[Mapping[str, str]]) -> None:
    """Print the answers of a model, a row each; long texts are shortened."""
    table = _table(*(rows[0] if rows else ("input",)))
    for row in rows:
        _add_row(
            table, *(t if len(t) <= SHOWN_TEXT else f"{t[:SHOWN_TEXT]}…" for t in row.values())
        )
    _console().print(table)


def _confirmed(experiment: Experiment, result: SearchResult) -> Table:
    """Return a table of the configurations that were trained again, best first."""
    searched = {trial.name: trial for trial in result.trials}
    heads = [h for o in experiment.objective for h in (o.name, "in the search")]
    table = _table("confirmed", "seeds", *heads, "assignments")
    for found in result.confirmed:
        values = []
        for objective in experiment.objective:
            values.append(formatting.spread(found, objective.name))
            values.append(formatting.number(objective.value(searched[found.trial].metrics)))
        seeds = str(len(found.seeds)) + f", {len(found.failed)} failed" * bool(found.failed)
        _add_row(table, found.trial, seeds, *values, formatting.assignments(found.assignments))
    return table


def _print_pairs(console: Console, title: str, pairs: dict[str, str]) -> None:
    if pairs:
        table = _table(title, "")
        for name, value in pairs.items():
            _add_row(table, name, value)
        console.print(table)


def _print_curve(console: Console, experiment: Experiment, trial: Trial) -> None:
    names = [o.name for o in experiment.objective]
    if "loss" not in names:
        names.append("loss")
    if not trial.curve:
        return
    table = _table("evaluation", "training step", "epoch", *names)
    for point in trial.curve:
        mark = " *" if point.step == trial.best_step else ""
        values = [f"{point.metrics[n]:.4g}" if n in point.metrics else "" for n in names]
        _add_row(
            table, f"{point.step}{mark}", str(point.training_step), f"{point.epoch:g}", *values
        )
    console.print(table)


def metrics_line(metrics: Mapping[str, float], objectives: Sequence[str] = ()) -> str:
    """Return the metrics that matter in one line, the objectives first."""
    found = [name for name in CLASSES if name in metrics]
    quality = found or [name for name in metrics if name not in PRACTICAL_METRICS]
    names = dict.fromkeys((*objectives, *(n for n in quality if n not in COSTS), *COSTS))
    return ", ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*(printable(cell) for cell in cells))


def _say(console: Console, text: str) -> None:
    console.print(printable(text))


def printable(text: str) -> str:
    """Return a text in which characters that control a terminal are escaped."""
    return "".join(map(_shown, text))


def _with_intervals(trial: Trial) -> dict[str, str]:
    found = trial.metrics.items()
    return {
        name: formatting.sampled(value, trial.intervals[name])
        if name in trial.intervals
        else f"{value:.6g}"
        for name, value in found
    }


def _shown(character: str) -> str:
    is_control = character != "\n" and unicodedata.category(character) in CONTROL
    return character.encode("unicode_escape").decode() if is_control else character


def _console() -> Console:
    # Piped output is for other programs: it is not folded at 80 columns.
    return (
        Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        if sys.stdout.isatty()
        else Console(width=240, highlight=False, markup=False, emoji=False)
    )


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
