"""The experiment file of a plan, with a comment where a choice has a reason."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from hpo_pipeline.drafting.facts import Facts, columns_of
from hpo_pipeline.drafting.guess import Guess
from hpo_pipeline.drafting.plan import MATTERS, TOLERANCE, Plan
from hpo_pipeline.drafting.sample import Sample

WIDTH = 100


@dataclass(frozen=True)
class Draft:
    """All that the file is made of.

    Attributes:
        remarks: sentences on the data, for the head of the file.
        group: a column whose rows should stay together, if one looks like it.
    """

    name: str
    found: Sample
    guess: Guess
    facts: Facts
    plan: Plan
    remarks: tuple[str, ...] = ()
    group: str | None = None


def name_of(found: Sample) -> str:
    """Return a name for the experiment, made of that of the data."""
    stem = Path(found.data).name.split(".")[0].lower()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40].rstrip("-")
    return name if name[:1].isalpha() else f"data-{name}"[:40].rstrip("-")


def written(draft: Draft, folder: Path) -> str:
    """Return the text of the file.

    Args:
        folder: where the file will be; the data are named from there.
    """
    plan = draft.plan
    remarks = (part for text in draft.remarks for part in wrap(text, WIDTH - 2))
    lines = [f"# {remark}" for remark in remarks]
    lines += [f"name: {draft.name}", *_task(draft, folder), *_objective(plan), "space:"]
    width = max(map(len, plan.space)) + 1
    lines += [f"  {f'{name}:':{width}} {flow(entry)}" for name, entry in plan.space.items()]
    tpe = {"algorithm": "tpe", "seed": 0, "settings": {"startup_trials": max(4, plan.trials // 3)}}
    stop = {"algorithm": "median", "min_trials": 3, "start_step": 1}
    lines += [f"search: {flow(tpe)}"]
    if plan.matter == "quality":
        lines += [f"stopping: {flow(stop)}   # ends trials that lag behind"]
    minutes = max(30, 10 * round(plan.minutes * 3 / 10))
    budget = {"trials": plan.trials, "parallel": plan.parallel, "minutes": minutes}
    lines += [
        f"budget: {flow(budget)}   # ends after that time, if the trials have not",
        f"register: {flow({'model': draft.name, 'min_gain': 0.0})}",
    ]
    return "\n".join(lines) + "\n"


def _task(draft: Draft, folder: Path) -> list[str]:
    plan, facts = draft.plan, draft.facts
    fields: dict[str, Any] = {"kind": draft.guess.kind, **draft.guess.settings}
    task = dict(plan.task)
    fields |= {"model": task.pop("model"), "data": _place(draft.found.data, folder)}
    if columns := columns_of(draft.guess):
        fields["columns"] = columns
    rows = _rows(draft)
    fields |= {**task, **({"rows": rows} if rows else {})}
    lines = ["task:"]
    for name, value in fields.items():
        why = plan.why.get(name)
        lines.append(f"  {name}: {flow(value)}" + (f"   # {why}" if why else ""))
        if name == "columns" and draft.group:
            lines.append(
                f"  # {draft.group} repeats: add `group: {draft.group}` to columns to keep "
                f"its rows in one split"
            )
    if plan.train:
        lines.append(
            f"  # {facts.rows['train']:,} training rows are there: more of them learn better, and "
            f"take longer"
        )
    return lines


def _rows(draft: Draft) -> dict[str, Any]:
    if draft.plan.train is None:
        return {}
    rows: dict[str, Any] = {"train": draft.plan.train}
    most = max(200, draft.plan.train)
    for name in ("validation", "test"):
        if draft.facts.rows[name] > most:
            rows[name] = most
    return rows


def _objective(plan: Plan) -> list[str]:
    first = {"metric": plan.metric, "goal": plan.goal}
    second, goal, meaning = MATTERS[plan.matter]
    if not second:
        return [f"objective: {flow(first)}", '# constraints: ["latency_p95_ms <= 20"]']
    rule = {
        "rule": "lexicographic",
        "order": [plan.metric, second],
        "tolerance": {plan.metric: TOLERANCE},
    }
    return [
        f"objective:   # {meaning}",
        f"  - {flow(first)}",
        f"  - {flow({'metric': second, 'goal': goal})}",
        f"select: {flow(rule)}",
    ]


def _place(data: str | Path, folder: Path) -> str:
    """Return how a file in a folder names the data: relative where they are in it or below."""
    if isinstance(data, str):
        return data
    whole = Path(os.path.abspath(data))
    try:
        return f"./{whole.relative_to(os.path.abspath(folder))}"
    except ValueError:
        return str(whole)


def flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    plain = dict(value) if isinstance(value, Mapping) else value
    text = yaml.safe_dump(
        plain, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()
