"""Chats as the model's own template writes them, and which of their tokens are learnt.

A template that marks the turns of the assistant ({% generation %}) has all of them learnt; of any
other, the last message of the assistant is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.inputs.base_config import one_line
from hpo_pipeline.tasks.kind import Row

Messages = Sequence[dict[str, str]]
_MARKS = re.compile(r"\{%-?\s*generation\b")


def check_template(tokenizer: Any, source: str) -> None:
    """Refuse a tokenizer that cannot write chats.

    Raises:
        DataError: it has no template.
    """
    if not tokenizer.chat_template:
        raise DataError(
            f"task.model: the tokenizer of {source!r} has no chat template, which examples: chats "
            f"needs; name a model that was made for chats, or add the template to the model's "
            f"folder as chat_template.jinja"
        )


def encoded_chat(messages: Messages, tokenizer: Any) -> Row:
    """Return the `input_ids` of a chat, the stretches that are `learnt`, and their `bytes`.

    Nothing is learnt from a chat without a message of the assistant.

    Raises:
        DataError: the template refuses the messages.
    """
    marks = _MARKS.search(str(tokenizer.chat_template)) is not None
    try:
        return (_marked if marks else _last)(messages, tokenizer)
    # A template is a program of the model's author, which raises what it likes.
    except Exception as error:
        shown = [f"{m['role']}: {m['content'][:30]}" for m in messages[:3]]
        raise DataError(
            f"task.data: the chat template of the model refuses a chat of {len(messages)} messages "
            f"({'; '.join(shown)}): {one_line(error)}"
        ) from error


def _marked(messages: Messages, tokenizer: Any) -> Row:
    """Encode a chat by a template that marks what the assistant says."""
    found = tokenizer.apply_chat_template(
        list(messages), return_dict=True, return_assistant_tokens_mask=True
    )
    learnt, mask = [], [0, *found["assistant_masks"], 0]
    for i, (before, now) in enumerate(itertools.pairwise(mask)):
        if before != now:
            learnt.append(i)
    said = [m["content"] for m in messages if m["role"] == "assistant"]
    return _row(found["input_ids"], learnt, "".join(said))


def _last(messages: Messages, tokenizer: Any) -> Row:
    """Encode a chat up to the last message of the assistant, which is learnt."""
    place = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=None)
    if place is None:
        return _row(_ids(messages, tokenizer), [], "")
    ids = _ids(messages[: place + 1], tokenizer)
    start = 0
    if place:
        # Some templates write an earlier turn differently from the last: what is common counts.
        asked = _ids(messages[:place], tokenizer, add_generation_prompt=True)
        pairs = enumerate(zip(ids, asked, strict=False))
        start = next((i for i, (a, b) in pairs if a != b), min(len(asked), len(ids)))
    return _row(ids, [start, len(ids)], messages[place]["content"])


def _ids(messages: Messages, tokenizer: Any, **options: Any) -> list[int]:
    # What a user writes may look like a control token, and must not act as one.
    found = tokenizer.apply_chat_template(
        list(messages), return_dict=True, sanitize_control_tokens=True, **options
    )
    ids: list[int] = found["input_ids"]
    return ids


def _row(ids: list[int], learnt: list[int], said: str) -> Row:
    size = len(said.encode()) if learnt else 0
    return {"input_ids": ids, "learnt": learnt, "bytes": size, "unknown": 0}
