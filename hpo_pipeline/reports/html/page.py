"""Putting the page together: its sections in order, each of which may stand alone.

A plot whose data do not suffice, or that its library refuses to draw, becomes a sentence: the
page is written for failed and half-done searches too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TypeVar

import yaml
from plotly.offline import get_plotlyjs

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.html import (
    artefacts,
    captions,
    curves,
    drawn,
    figures,
    findings,
    tables,
    tradeoff,
)
from hpo_pipeline.reports.html.growth import growth, growth_line
from hpo_pipeline.reports.html.leaderboard import leaderboard
from hpo_pipeline.reports.html.lineage import lineage
from hpo_pipeline.reports.html.studies import quiet_optuna
from hpo_pipeline.reports.html.style import CONTENT_POLICY, CSS, SCRIPT
from hpo_pipeline.reports.sharing import shareable_tree
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.ranking import is_usable
from hpo_pipeline.results.ranking import winner as select_winner
from hpo_pipeline.results.trial import Trial, TrialState

Drawn = TypeVar("Drawn")

logger = logging.getLogger(__name__)

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{css}</style></head>
<body><main>{body}
<p class="soft">In a chart: drag to zoom, double-click to go back, click a legend to hide what it
names.</p></main>
<script>{plotly}</script>
<script>{script}</script>
</body></html>
"""


@dataclass(frozen=True)
class Findings:
    """What several sections need: the trials in their order, the best one, importances.

    `shown` are the trials that charts draw, `lines` those of parallel coordinates.
    """

    trials: tuple[Trial, ...]
    shown: tuple[Trial, ...]
    lines: tuple[Trial, ...]
    best: Trial | None
    importances: dict[str, dict[str, float] | str]


def write_report(
    experiment: Experiment, result: SearchResult, out: Path, *, run_info: Mapping[str, str]
) -> Path:
    """Write the page of a search and return its path.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    with quiet_optuna():
        body = _body(experiment, result, run_info)
    page = PAGE.format(
        policy=CONTENT_POLICY,
        title=escape(f"{experiment.name}: {result.state}"),
        css=CSS,
        body=body,
        plotly=get_plotlyjs(),
        script=SCRIPT,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        draft.write_text(page, "utf-8")
        draft.replace(out)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return out


def _body(experiment: Experiment, result: SearchResult, run_info: Mapping[str, str]) -> str:
    found = _findings(experiment, result)
    trials, best = found.trials, found.best
    sections = {
        "Confirmed": tables.confirmed(experiment, result),
        "Leaderboard": leaderboard(experiment, trials, winner=best.name if best else None),
        "What mattered": _importances(experiment, found),
        "Objective by parameter": _slices(experiment, found),
        "History": _each(experiment, lambda o: _history(experiment, found, o)),
        "Learning curves": _curves(experiment, found),
        "Lineage": _lineage(experiment, found),
        "Trade-off": _trade_offs(experiment, found),
        "Artefacts": _artefacts(experiment, trials, best),
        "Hypervolume": _hypervolume(experiment, trials),
        "Parallel coordinates": _parallel(experiment, found),
        "Constraints": tables.constraints(experiment, trials, best),
        "Data": tables.data_notes(run_info),
        "Environment": tables.environment(trials, run_info),
        "Experiment": _experiment_file(experiment),
    }
    return tables.headline(experiment, result, best) + "".join(
        f"<section><h2>{title}</h2>{content}</section>"
        for title, content in sections.items()
        if content
    )


def _findings(experiment: Experiment, result: SearchResult) -> Findings:
    trials = tuple(sorted(result.trials, key=lambda trial: trial.number))
    best = select_winner(experiment, trials)
    if result.winner:
        best = next((trial for trial in trials if trial.name == result.winner.name), best)
    sample = drawn.evenly(trials, drawn.SAMPLED)
    shares: dict[str, dict[str, float] | str] = {
        o.name: _tried(findings.importances, experiment, sample, o) for o in experiment.objective
    }
    always = {name for name in (best.name if best else None, result.baseline) if name}
    shown = drawn.drawn(experiment, trials, always=always)
    few = {"most": drawn.LINES, "best": drawn.BEST_LINES}
    lines = drawn.drawn(experiment, trials, always=always, **few)
    return Findings(trials, shown, lines, best, shares)


def _history(experiment: Experiment, found: Findings, objective: Objective) -> str:
    plot = _plot(figures.history, experiment, found.shown, objective)
    return _caption(captions.history(experiment, found.trials, objective)) + plot


def _curves(experiment: Experiment, found: Findings) -> str:
    trials, winner = found.trials, found.best
    objectives = curves.curve_objectives(experiment, trials)
    draw = partial(curves.curves, winner=winner.name if winner else None)
    content = "".join(_plot(draw, found.shown, objective) for objective in objectives)
    content = (
        _caption(captions.curves(trials, winner=winner)) + content
        if objectives
        else _absent("No trial has an evaluation yet.")
    )
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    names = "; ".join(f"{t.name} ({t.reason or 'no reason given'})" for t in failed)
    return content + (f'<p class="soft">Failed: {escape(names)}.</p>' if failed else "")


def _lineage(experiment: Experiment, found: Findings) -> str:
    """Return the family tree of a population; empty where the search has none."""
    if population(experiment) is None:
        return ""
    words = captions.lineage(experiment, found.trials, winner=found.best)
    draw = partial(lineage, winner=found.best)
    objective = experiment.objective[0]
    return _caption(words) + _plot(draw, experiment, found.trials, objective)


def _trade_offs(experiment: Experiment, found: Findings) -> str:
    quality, prices = tradeoff.quality_and_prices(experiment)
    name = found.best.name if found.best else None
    plots = []
    for price in prices:
        draw = partial(tradeoff.trade_off, quality=quality, price=price, winner=name)
        plot = _plot(draw, experiment, found.shown)
        front = tradeoff.front_of(experiment, found.trials, quality=quality, price=price)
        words = captions.trade_off(front, quality=quality, price=price)
        title = f"<h3>{escape(f'{quality.name} against {price.name}')}</h3>"
        plots.append(f"<div>{title}{_caption(words) * _is_drawn(plot)}{plot}</div>")
    return f'<div class="pairs">{"".join(plots)}</div>'


def _artefacts(experiment: Experiment, trials: Sequence[Trial], winner: Trial | None) -> str:
    """Return the front of what can be served; empty where all trials make the same artefact."""
    found = artefacts.artefacts(experiment, trials)
    if not found:
        return ""
    quality, _ = tradeoff.quality_and_prices(experiment)
    words = (
        "Each dot is a trial as one of its artefacts, with the 95 % interval of its latency. No "
        "artefact beats those on the dotted line in both."
    )
    listed = artefacts.of_winner(found, quality, winner.name if winner else None)
    return _caption(words) + _plot(artefacts.drawing, found, quality) + listed


def _hypervolume(experiment: Experiment, trials: Sequence[Trial]) -> str:
    """Return the growth of the front of several objectives; empty where there is one."""
    if len(experiment.objective) == 1:
        return ""
    shares = growth(experiment, trials)
    if isinstance(shares, str):
        return _absent(shares)
    return _caption(captions.hypervolume(shares)) + _plot(growth_line, experiment, shares)


def _parallel(experiment: Experiment, found: Findings) -> str:
    plot = _plot(figures.parallel_coordinates, experiment, found.lines)
    words = f"{captions.parallel(experiment)} {drawn.note(found.trials, found.lines)}".strip()
    return _caption(words) * _is_drawn(plot) + plot


def _importances(experiment: Experiment, found: Findings) -> str:
    shares = {name: part for name, part in found.importances.items() if not isinstance(part, str)}
    reasons = [part for part in found.importances.values() if isinstance(part, str)]
    words = [
        findings.what_mattered(experiment, found.trials, objective, shares[objective.name])
        for objective in experiment.objective
        if objective.name in shares
    ]
    return (
        "".join(f"<p>{escape(text)}</p>" for text in words)
        + (_plot(figures.importance_bars, shares) if shares else "")
        + "".join(map(_absent, dict.fromkeys(reasons)))
    )


def _slices(experiment: Experiment, found: Findings) -> str:
    if not any(is_usable(experiment, trial) for trial in found.trials):
        return _absent(figures.NOTHING_YET)

    def charts(objective: Objective) -> str:
        plots = (
            _plot(partial(figures.slice_plot, name=name), experiment, found.shown, objective)
            for name in experiment.space
        )
        return f'<div class="slices">{"".join(f"<div>{plot}</div>" for plot in plots)}</div>'

    words = f"{captions.slices(experiment, found.trials)} {drawn.note(found.trials, found.shown)}"
    return _caption(words.strip()) + _each(experiment, charts)


def _experiment_file(experiment: Experiment) -> str:
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    # Environment variables and addresses of a cluster: a report is passed on.
    left_out = " The section cluster is left out." if content.pop("cluster", None) else ""
    content = shareable_tree(content)
    text = yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, width=96, default_flow_style=None
    )
    chosen = "".join(f" {n}.algorithm: auto is {c}." for n, c in experiment.choices().items())
    said = escape(f"What is not listed has its default.{left_out}{chosen}")
    return f'<p class="soft">{said}</p><pre>{escape(text)}</pre>'


def _each(experiment: Experiment, content: Callable[[Objective], str]) -> str:
    if len(experiment.objective) == 1:
        return content(experiment.objective[0])
    return "".join(f"<h3>{escape(o.name)}</h3>{content(o)}" for o in experiment.objective)


def _plot(draw: Callable[..., figures.Drawing], *data: object) -> str:
    """Return a plot with its data, or the sentence that replaces it."""
    figure = _tried(draw, *data)
    if isinstance(figure, str):
        return _absent(figure)
    # The data stand in a script element, which only "</script" could end.
    text = figure.to_json().replace("<", "\\u003c")
    height = figure.layout.height
    return (
        f'<div class="plot" style="height:{height}px"></div>'
        f'<script type="application/json">{text}</script>'
    )


def _is_drawn(plot: str) -> bool:
    return plot.startswith('<div class="plot"')


def _caption(sentence: str) -> str:
    return f"<p>{escape(sentence)}</p>" if sentence else ""


def _tried(draw: Callable[..., Drawn], *data: object) -> Drawn | str:
    """Call a function of the plot libraries; what they refuse to do becomes a sentence.

    They raise whatever their depths raise. A page without one plot is better than no page.
    """
    try:
        return draw(*data)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        logger.warning("a plot was left out", exc_info=True)
        return f"This part could not be drawn: {error}"


def _absent(sentence: str) -> str:
    return f'<p class="absent">{escape(sentence)}</p>'
