"""The model card: a README.md that says what a model is and where its numbers come from.

It is written into the winner's folder after the confirmation. A pure function of the experiment,
the winning trial and the facts about data and base model that the caller collects in `Evidence`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import ChoiceParameter, FloatParameter, IntParameter, render
from hpo_pipeline.experiment.verdict import Interval, Intervals
from hpo_pipeline.reports.formatting import spread
from hpo_pipeline.reports.sharing import hub_id, shareable
from hpo_pipeline.results.outcome import Confirmed
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.tasks import TASKS

HUB_METRICS = ("accuracy", "f1", "precision", "recall", "perplexity")
"""Metrics that the Hugging Face Hub knows by these names."""


@dataclass(frozen=True)
class Evidence:
    """What the card says besides the experiment and the trial.

    Attributes:
        test: metrics on the held-out rows, and the intervals of those that were sampled.
        counts: trials by state.
        source: where the data were read from.
        fingerprint: of the prepared data.
        rows: rows by split.
        labels: labels of the data, in the order of the model's outputs.
        majority: share of the most frequent label; 0 where labels are no classes.
        notes: sentences on what was left out of the data, merged or cut.
        licence: of the base model.
        base_model: its hub id, where it has one.
        confirmed: results with other seeds, where there are any.
    """

    test: Mapping[str, float] = field(default_factory=dict)
    test_intervals: Intervals = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    fingerprint: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    labels: Sequence[str] = ()
    majority: float | None = None
    notes: Sequence[str] = ()
    licence: str | None = None
    base_model: str | None = None
    confirmed: Confirmed | None = None


def model_card(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    """Return the card of the model that `trial` trained, as Markdown with front matter."""
    usage = TASKS[experiment.task.kind].usage(experiment.task)
    sections = (
        _title(experiment, trial, evidence),
        f"## How to use\n\n```python\n{usage}\n```",
        _searched(experiment, evidence),
        _chosen(experiment, trial, evidence),
        _metrics(experiment, trial, evidence),
        _data(evidence),
        _limits(experiment, evidence),
        _software(trial),
    )
    return _front_matter(experiment, trial, evidence) + "\n" + "\n\n".join(sections) + "\n"


def _front_matter(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    facts: dict[str, Any] = {
        "license": evidence.licence.lower() if evidence.licence else None,
        "base_model": None if experiment.task.from_scratch else hub_id(evidence.base_model),
        "library_name": "transformers",
        "pipeline_tag": TASKS[experiment.task.kind].pipeline(experiment.task),
        "tags": ["hpo-pipeline", "hyperparameter-optimization", experiment.name],
        "metrics": [name for name in HUB_METRICS if name in {**trial.metrics, **evidence.test}],
    }
    known = {name: value for name, value in facts.items() if value}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---\n"


def _title(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    task = experiment.task
    origin = "trained from random weights as" if task.from_scratch else "fine-tuned from"
    tried = sum(evidence.counts.values())
    among = f", the best of {tried} trials" if tried else ""
    origin = f", {origin} {_text(shareable(task.model))}" if task.model else ""
    data = f" on {_text(shareable(', '.join(task.sources)))}" if task.data else ""
    return (
        f"# {experiment.name}\n\n"
        f"A model for {task.kind}{origin}{data}: "
        f"trial {_text(trial.name)} of the experiment {experiment.name}{among}."
    )


def _searched(experiment: Experiment, evidence: Evidence) -> str:
    rows = [(name, *_range(experiment.space[name])) for name in experiment.space]
    search, stopping = experiment.chosen_search, experiment.chosen_stopping
    states = ", ".join(f"{count} {state}" for state, count in evidence.counts.items())
    facts = [
        f"Objective: {_and(map(_objective, experiment.objective))}",
        f"Constraints: {_and(map(_text, experiment.constraints)) or 'none'}",
        f"Search: {search.algorithm}, seed {search.seed}; stopping: {stopping.algorithm}",
        f"Trials: {states or 'unknown'}",
    ]
    listed = "\n".join(f"- {fact}" for fact in facts)
    table = _table(("parameter", "type", "values", "scale"), rows)
    return f"## What was searched\n\n{listed}\n\n{table}"


def _chosen(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    rows = [(name, render(value)) for name, value in trial.assignments.items()]
    return f"## Chosen configuration\n\n{_table(('parameter', 'value'), rows)}" + _confirmation(
        experiment, evidence.confirmed
    )


def _confirmation(experiment: Experiment, confirmed: Confirmed | None) -> str:
    """Say what the configuration reached with other seeds."""
    if confirmed is None:
        return ""
    found = "; ".join(f"{_text(o.name)} {spread(confirmed, o.name)}" for o in experiment.objective)
    return (
        f"\n\nConfirmed with {len(confirmed.seeds)} other seeds on the validation rows (mean ± "
        f"standard deviation): {found}. The model is from the median run, not from the best one."
    )


def _metrics(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    names = dict.fromkeys((*trial.metrics, *evidence.test))
    meanings = experiment.task.metric_names
    rows = [
        (
            name,
            _sampled(trial.metrics.get(name), trial.intervals.get(name)),
            _sampled(evidence.test.get(name), evidence.test_intervals.get(name)),
            meanings.get(name, ""),
        )
        for name in names
    ]
    measured = experiment.task.gate_rows.removesuffix(" rows")
    words = "The configuration was chosen on the validation rows; no trial saw the test rows."
    if measured == "validation":
        words = (
            "The configuration was chosen on the validation rows, and there are no other values: "
            "the experiment names no function that measures a model on other rows."
        )
        less = [(name, first, meaning) for name, first, _, meaning in rows]
        return f"## Metrics\n\n{words}\n\n" + _table(("metric", "validation", "meaning"), less)
    columns = ("metric", "validation", measured, "meaning")
    return f"## Metrics\n\n{words}\n\n" + _table(columns, rows)


def _data(evidence: Evidence) -> str:
    rows = [
        ("source", shareable(evidence.source) or "unknown"),
        ("fingerprint of the prepared data", evidence.fingerprint or "unknown"),
        *((f"rows: {split}", f"{count:,}") for split, count in evidence.rows.items()),
    ]
    if evidence.labels:
        rows.append(("labels", ", ".join(evidence.labels)))
    if evidence.majority:
        rows.append(("share of the most frequent label", f"{evidence.majority:.3f}"))
    notes = "".join(f"\n- {_text(note)}" for note in evidence.notes)
    return f"## Data\n\n{_table(('', ''), rows)}" + (f"\n{notes}" if notes else "")


def _limits(experiment: Experiment, evidence: Evidence) -> str:
    if experiment.task.from_scratch:
        licence = "The weights are new; the licence of the data may restrict their use."
    elif evidence.licence:
        licence = (
            f"The base model's licence is {_text(evidence.licence)}; the licence of the data may "
            f"restrict the use of the weights too."
        )
    else:
        licence = "The licence of the base model is not known: look it up before sharing the model."
    return (
        "## Limitations and licence\n\n"
        "The numbers hold for rows like those of the data above. Searches pick lucky trials, so "
        "validation values are slightly optimistic: quote the test values. Latency, throughput "
        "and memory hold for the machine that measured them; in brackets are 95 % intervals."
        f"\n\n{licence}"
    )


def _software(trial: Trial) -> str:
    rows = sorted(trial.environment.items())
    table = _table(("software", "version"), rows) if rows else "Not recorded."
    return f"## Software\n\n{table}"


def _range(parameter: FloatParameter | IntParameter | ChoiceParameter) -> tuple[str, str, str]:
    if isinstance(parameter, ChoiceParameter):
        return "choice", ", ".join(map(render, parameter.values)), ""
    has_step = parameter.step not in (None, 1) or isinstance(parameter, IntParameter)
    scale = "log" if parameter.log else f"step {parameter.step}" if has_step else "linear"
    return parameter.type, f"{render(parameter.low)} to {render(parameter.high)}", scale


def _objective(objective: Objective) -> str:
    return f"{objective.goal} {_text(objective.score or objective.name)}"


def _and(parts: Iterable[str]) -> str:
    return "; ".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _sampled(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return _number(value)
    low, high = map(_number, interval)
    return f"{_number(value)} ({low} to {high})" if high else f"{_number(value)} (at least {low})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text if text == "---" else _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Escape what Markdown or HTML would read as markup."""
    flat = " ".join(text.split())
    # An underscore inside a word is not markup: metric names stay readable.
    marked = re.sub(r"[\\`*\[\]#]|\b_|_\b", r"\\\g<0>", flat)
    return html.escape(marked, quote=False)
