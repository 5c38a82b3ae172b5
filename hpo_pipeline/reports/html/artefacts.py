"""What the artefacts of a run cost and reach: torch, onnx, int8 on one front, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.html.figures import BLUE, GREEN, GREY, ORANGE, RED, Drawing, styled
from hpo_pipeline.reports.html.tables import table
from hpo_pipeline.results.ranking import fronts, is_usable
from hpo_pipeline.results.trial import Trial, Variant

PRICE = "latency_p95_ms"
SHOWN = ("latency_p50_ms", "latency_p95_ms", "model_size_mb")
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)


@dataclass(frozen=True)
class Artefact:
    """One artefact of a trial."""

    trial: Trial
    variant: Variant

    @property
    def price(self) -> float:
        """What a request costs."""
        return self.variant.metrics.get(PRICE, math.nan)

    @property
    def interval(self) -> Interval:
        """Where the price is, with 95 % confidence."""
        return self.variant.intervals.get(PRICE, (self.price, self.price))


def artefacts(experiment: Experiment, trials: Sequence[Trial]) -> list[Artefact]:
    """Return every artefact that was measured; none where all trials have the same one."""
    found = [
        Artefact(trial, variant)
        for trial in trials
        if is_usable(experiment, trial)
        for variant in _variants(experiment, trial)
    ]
    found = [each for each in found if math.isfinite(each.price)]
    return found if len({each.variant.title for each in found}) > 1 else []


def front(found: Sequence[Artefact], quality: Objective) -> list[Artefact]:
    """Return the artefacts that no other beats in quality and price at once, cheapest first."""
    points = [(quality.sign() * quality.value(a.variant.metrics), -a.price) for a in found]
    best = [found[i] for i in (fronts(points) or [[]])[0]]
    return sorted(best, key=lambda each: each.price)


def drawing(found: Sequence[Artefact], quality: Objective) -> Drawing:
    """Draw quality against latency, a colour for each kind of artefact."""
    figure = go.Figure()
    best = front(found, quality)
    figure.add_scatter(
        x=[each.price for each in best],
        y=[quality.value(each.variant.metrics) for each in best],
        mode="lines",
        name="Pareto front",
        line={"color": GREY, "dash": "dot", "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )
    titles = list(dict.fromkeys(each.variant.title for each in found))
    for i, title in enumerate(titles):
        group = [each for each in found if each.variant.title == title]
        highs = [each.price if each.interval[1] is None else each.interval[1] for each in group]
        figure.add_scatter(
            x=[each.price for each in group],
            y=[quality.value(each.variant.metrics) for each in group],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - each.price for high, each in zip(highs, group, strict=True)],
                "arrayminus": [each.price - each.interval[0] for each in group],
                "thickness": 1.2,
                "width": 3,
            },
            mode="markers",
            name=title,
            text=[_text(each, quality) for each in group],
            hovertemplate="%{text}<extra></extra>",
            marker={"color": COLOURS[i % len(COLOURS)], "size": 9},
        )
    figure.update_xaxes(title=f"{PRICE} (ms, less is better), with 95 % intervals", type="log")
    figure.update_yaxes(title=quality.name)
    return styled(figure, height=380)


def of_winner(found: Sequence[Artefact], quality: Objective, winner: str | None) -> str:
    """Return a table of the winner's artefacts."""
    rows = [
        (
            each.variant.title + " ★" * (each.variant.title == each.trial.served),
            formatting.number(quality.value(each.variant.metrics)),
            *(
                formatting.sampled(each.variant.metrics.get(name), each.variant.intervals.get(name))
                for name in SHOWN
            ),
        )
        for each in found
        if each.trial.name == winner
    ]
    if len(rows) < 2:
        return ""
    heads = ("artefact of the winner", quality.name, *SHOWN)
    return table(heads, rows, numbers=range(1, len(heads)))


def _variants(experiment: Experiment, trial: Trial) -> tuple[Variant, ...]:
    if trial.variants:
        return trial.variants
    title = trial.served or experiment.serve.assigned(trial.assignments).title
    return (Variant(title, trial.metrics, trial.intervals),)


def _text(each: Artefact, quality: Objective) -> str:
    return (
        f"<b>{escape(each.trial.name)}</b>: {escape(each.variant.title)}<br>"
        f"{escape(quality.name)} {formatting.number(quality.value(each.variant.metrics))}<br>"
        f"{PRICE} {formatting.sampled(each.price, each.variant.intervals.get(PRICE))}"
    )
