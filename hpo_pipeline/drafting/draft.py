"""The whole way from data to the text of an experiment file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

from hpo_pipeline.data.cleaning.columns import shown_name
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.drafting import columns
from hpo_pipeline.drafting.durations import Machine
from hpo_pipeline.drafting.facts import Facts, facts_of, task_of
from hpo_pipeline.drafting.guess import IMAGES, Guess, Question, Wanted, guess
from hpo_pipeline.drafting.plan import CHAT_MODEL, MATTERS, Matter, plan
from hpo_pipeline.drafting.profiles import profiles
from hpo_pipeline.drafting.sample import Sample, sample
from hpo_pipeline.drafting.writing import Draft, name_of
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks import TASKS

Ask = Callable[[Question], str]
"""Answers a question with one of its choices."""


@dataclass(frozen=True)
class Options:
    """What the user has decided; None lets the data decide, or asks."""

    wanted: Wanted = field(default_factory=Wanted)
    matter: Matter | None = None
    model: str | None = None
    name: str | None = None


def unanswered(question: Question) -> str:
    """Refuse a question that nobody is there to answer.

    Raises:
        DataError: always, with the question and the option that answers it.
    """
    raise DataError(question.as_fault())


def draft(
    data: str, options: Options, ask: Ask = unanswered, progress: Progress | None = None
) -> Draft:
    """Look at data, and draft an experiment.

    Raises:
        DataError: the data cannot be read or learnt from, or a question is not answered.
    """
    found = sample(data)
    known = _answered(found, options.wanted, ask)
    task = task_of(found, known, **_reading(known, options.model))
    facts = facts_of(task, TASKS[known.kind].form(task), progress)
    matter = options.matter or _matter(ask)
    made = plan(known, facts, Machine.here(), matter=matter, model=options.model)
    group = columns.group(profiles(found.columns)) if found.columns else None
    name = options.name or name_of(found)
    return Draft(name, found, known, facts, made, remarks(known, facts), group)


def _answered(found: Sample, wanted: Wanted, ask: Ask) -> Guess:
    answer = guess(found, wanted)
    while isinstance(answer, Question):
        chosen = ask(answer)
        wanted = Wanted(wanted.kind, wanted.inputs, (chosen,))
        answer = guess(found, wanted)
    return answer


def _matter(ask: Ask) -> Matter:
    if ask is unanswered:
        return "quality"
    names: tuple[Matter, ...] = get_args(Matter)
    meanings = "; ".join(f"{name}: {MATTERS[name][2]}" for name in names)
    chosen = ask(Question(f"What matters most? {meanings}.", "matters", names))
    return next(name for name in names if name == chosen)


def _reading(known: Guess, model: str | None) -> dict[str, object]:
    """Return the fields of a task that is only read."""
    if model is not None:
        return {"model": model}
    if known.kind == IMAGES:
        return {"model": "vit", "from_scratch": True}
    return {"model": CHAT_MODEL if known.settings.get("examples") == "chats" else "minilm"}


def remarks(known: Guess, facts: Facts) -> tuple[str, ...]:
    """Return what was found, as sentences for the terminal and the head of the file."""
    what = known.kind
    if known.settings:
        what += f" ({', '.join(f'{name}: {value}' for name, value in known.settings.items())})"
    for what_it_is, names in (("input", known.inputs), ("label", known.labels)):
        if names:
            what += f"; {what_it_is}: {', '.join(map(shown_name, names))}"
    counts = ", ".join(f"{count:,} {name}" for name, count in facts.rows.items())
    lines = [f"{what}.", f"Rows: {counts}."]
    if facts.labels:
        lines.append(f"Labels: {facts.label_text()}.")
    if facts.words[1]:
        lines.append(f"Inputs have {facts.words[0]:.0f} words on average.")
    if facts.shape:
        height, width, channels = facts.shape
        lines.append(f"Images have {height} x {width} pixels, {channels} channels.")
    return (*lines, *known.notes, *facts.notes)
