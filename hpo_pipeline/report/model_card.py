"""The model card: a README.md that says what a model is and where its numbers come from.

A pure function after `confirm`, written into the winner's folder. It knows the experiment and
the results; where data and models come from is told by its caller in `Evidence`.
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
from hpo_pipeline.report.formatting import spread
from hpo_pipeline.results.outcome import Confirmed
from hpo_pipeline.results.trial import Trial

HUB_METRICS = ("accuracy", "f1", "precision", "recall", "perplexity")
"""Metrics that the Hub knows by these names."""

USAGE: dict[str, str] = {
    "text-classification": """\
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
print(classify("Write a sentence here."))""",
    "image-classification": """\
from transformers import AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained("path/to/this/folder")
# pixel_values: (images, channels, height, width), scaled as in the training data
logits = model(pixel_values=pixel_values).logits""",
}


@dataclass(frozen=True)
class Evidence:
    """What the card says beside experiment and trial.

    `test` holds the metrics on the held-out rows, `counts` the trials by state, `majority` the
    share of the most frequent label; `base_model` is a hub id, where there is one.
    """

    test: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    fingerprint: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    labels: Sequence[str] = ()
    majority: float | None = None
    licence: str | None = None
    base_model: str | None = None
    confirmed: Confirmed | None = None


def model_card(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    """Return the card of the model that `trial` trained, as Markdown with front matter."""
    sections = (
        _title(experiment, trial, evidence),
        "## How to use\n\n" + f"```python\n{USAGE[experiment.task.kind]}\n```",
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
        "base_model": None if experiment.task.from_scratch else evidence.base_model,
        "library_name": "transformers",
        "pipeline_tag": experiment.task.kind,
        "tags": ["hpo-pipeline", "hyperparameter-optimization", experiment.name],
        "metrics": [name for name in HUB_METRICS if name in {**trial.metrics, **evidence.test}],
    }
    known = {name: value for name, value in facts.items() if value}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---\n"


def _title(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    task = experiment.task
    origin = "trained from random weights as" if task.from_scratch else "fine-tuned from"
    tried = sum(evidence.counts.values())
    among = f", chosen among {tried} trials" if tried else ""
    return (
        f"# {experiment.name}\n\n"
        f"A model for {task.kind}, {origin} {_text(task.model)} on {_text(task.data)}: "
        f"trial {_text(trial.name)} of the experiment {experiment.name}{among}."
    )


def _searched(experiment: Experiment, evidence: Evidence) -> str:
    rows = [(name, *_range(experiment.space[name])) for name in experiment.space]
    search, stopping = experiment.search, experiment.stopping
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
    """Say how the configuration did with other seeds, where it was tried."""
    if confirmed is None:
        return ""
    found = "; ".join(f"{_text(o.name)} {spread(confirmed, o.name)}" for o in experiment.objective)
    return (
        f"\n\nConfirmed with {len(confirmed.seeds)} other seeds, on the validation rows, as mean "
        f"± standard deviation: {found}. The model is that of the run in the middle of them, not "
        f"of the best."
    )


def _metrics(experiment: Experiment, trial: Trial, evidence: Evidence) -> str:
    names = dict.fromkeys((*trial.metrics, *evidence.test))
    meanings = experiment.task.metric_names
    rows = [
        (
            name,
            _number(trial.metrics.get(name)),
            _number(evidence.test.get(name)),
            meanings.get(name, ""),
        )
        for name in names
    ]
    return (
        "## Metrics\n\n"
        "The configuration was chosen by the validation rows; no trial saw the test rows.\n\n"
        + _table(("metric", "validation", "held-out test", "meaning"), rows)
    )


def _data(evidence: Evidence) -> str:
    labels = ", ".join(evidence.labels)
    rows = [
        ("source", evidence.source or "unknown"),
        ("fingerprint of the prepared data", evidence.fingerprint or "unknown"),
        *((f"rows: {split}", f"{count:,}") for split, count in evidence.rows.items()),
        ("labels", labels or "unknown"),
    ]
    if evidence.majority is not None:
        rows.append(("share of the most frequent label", f"{evidence.majority:.3f}"))
    return f"## Data\n\n{_table(('', ''), rows)}"


def _limits(experiment: Experiment, evidence: Evidence) -> str:
    if experiment.task.from_scratch:
        licence = "The weights are new; the licence of the data may bind them."
    elif evidence.licence:
        licence = (
            f"The base model's licence is {_text(evidence.licence)}; that of the data may bind "
            f"the weights too."
        )
    else:
        licence = "The licence of the base model is not known: look it up before passing this on."
    return (
        "## Limitations and licence\n\n"
        "The numbers hold for rows like those of the data above. The validation value of the "
        "winner of a search is a little too good; the test value is the one to quote. Latency, "
        f"throughput and memory hold for the machine of the trial.\n\n{licence}"
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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text if text == "---" else _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Escape what Markdown or HTML would take for markup."""
    flat = " ".join(text.split())
    # Not an underscore inside a word, which is no markup: metric names stay readable.
    marked = re.sub(r"[\\`*\[\]#]|\b_|_\b", r"\\\g<0>", flat)
    return html.escape(marked, quote=False)
