"""What a finished model answers to inputs without labels: a table from the kind to a function.

Inputs are encoded by the kind itself, with labels that stand for none, and outputs are computed as
they are when a model is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Form, Loaded, rows_of
from hpo_pipeline.tasks.prediction import logits_of
from hpo_pipeline.tasks.task_fields import TaskFields

if TYPE_CHECKING:
    from numpy.typing import NDArray

Answer = dict[str, Any]
"""Plain data: a `label` with its `score`, `labels`, a `value`, `tags` of `words`, or a `text`."""
Tell = Callable[[TaskFields, Loaded, Sequence[Any]], list[Answer]]
GENERATED_TOKENS = 64
INPUTS_AT_ONCE = 64
DIGITS = 6


def answers(task: TaskFields, kind: str, loaded: Loaded, inputs: Sequence[Any]) -> list[Answer]:
    """Return what a model answers to each input.

    Args:
        kind: a row of TASKS that has answers (`ANSWERED`).
        loaded: the model; its rows are made here.
        inputs: in the form of the kind.
    """
    found: list[Answer] = []
    for start in range(0, len(inputs), INPUTS_AT_ONCE):
        some = inputs[start : start + INPUTS_AT_ONCE]
        if kind == "language-modeling":
            found += _continued(task, loaded, some)
            continue
        labels = [_stand_in(TASKS[kind].form(task), value, loaded.names) for value in some]
        batch = {"input": list(some), "label": labels}
        rows = rows_of(TASKS[kind].encode(task, batch, loaded.processor, loaded.names))
        filled = replace(loaded, rows=rows)
        found += ANSWERED[kind](task, filled, some)
    return found


def _stand_in(form: Form, value: Any, names: Sequence[str]) -> Any:
    """Return a label that says nothing, which rows need to be encoded."""
    match form.label:
        case "classes":
            return []
        case "number":
            return 0.0
        case "text":
            return "-"
        case "tags":
            return [names[0]] * len(value)
    return names[0]


def _classified(task: TaskFields, loaded: Loaded, inputs: Sequence[Any]) -> list[Answer]:
    """Return the likeliest label with its probability, or all that reach the threshold."""
    import numpy as np

    logits = logits_of(loaded).astype(np.float64)
    problem = getattr(task.settings, "problem", "single_label")
    if problem == "regression":
        return [{"value": round(float(row[0]), DIGITS)} for row in logits]
    if problem == "multi_label":
        return [
            {
                "labels": [n for n, s in scores.items() if s >= task.settings.threshold],
                "scores": scores,
            }
            for scores in (_scores(loaded, row) for row in 1 / (1 + np.exp(-logits)))
        ]
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found = []
    for row in shifted / shifted.sum(axis=-1, keepdims=True):
        scores = _scores(loaded, row)
        label = max(scores, key=lambda name: scores[name])
        found.append({"label": label, "score": scores[label], "scores": scores})
    return found


def _scores(loaded: Loaded, row: NDArray[Any]) -> dict[str, float]:
    return {
        name: round(float(value), DIGITS) for name, value in zip(loaded.names, row, strict=True)
    }


def _tagged(task: TaskFields, loaded: Loaded, inputs: Sequence[Any]) -> list[Answer]:
    """Return a tag for each word."""
    import torch

    from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
    from hpo_pipeline.tasks.tagging.word_tags import WordMetrics

    words = WordMetrics(loaded.names, "auto", task.max_length, {})
    with torch.inference_mode():
        batch = {k: v.to(loaded.model.device) for k, v in loaded.collate(list(loaded.rows)).items()}
        is_first = (batch.pop("labels") != IGNORED).cpu().numpy()
        best = loaded.model(**batch).logits.argmax(dim=-1).cpu().numpy()
    return [
        {"words": list(own), "tags": words.on_words(row, [loaded.names[i] for i in tags[places]])}
        for own, row, tags, places in zip(inputs, loaded.rows, best, is_first, strict=True)
    ]


def _written(task: TaskFields, loaded: Loaded, inputs: Sequence[Any]) -> list[Answer]:
    """Return the text that an encoder-decoder model writes, by its own settings."""
    import torch

    batch = loaded.collate(list(loaded.rows))
    own = {name: batch[name].to(loaded.model.device) for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        ids = loaded.model.generate(**own)[:, 1:]
    return [{"text": text} for text in loaded.processor.batch_decode(ids, skip_special_tokens=True)]


def _continued(task: TaskFields, loaded: Loaded, inputs: Sequence[Any]) -> list[Answer]:
    """Return how a language model continues a text or a chat, or fills its masks."""
    if task.settings.language_model == "masked":
        return [_unmasked(loaded, text) for text in inputs]
    return [{"text": _continuation(loaded, value)} for value in inputs]


def _continuation(loaded: Loaded, value: Any) -> str:
    import torch

    tokenizer = loaded.processor
    if isinstance(value, str):
        # The closing token that a tokenizer adds would end the text before it is continued.
        ids = tokenizer(value, add_special_tokens=False)["input_ids"]
        start = tokenizer.bos_token_id
        ids = ids if ids or start is None else [start]
    else:
        encoded = tokenizer.apply_chat_template(
            list(value), return_dict=True, add_generation_prompt=True
        )
        ids = encoded["input_ids"]
    given = torch.tensor([ids], device=loaded.model.device)
    with torch.inference_mode():
        found = loaded.model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=_room(loaded.model, len(ids)),
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
    return str(tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True))


def _room(model: Any, used: int) -> int:
    """Return how many tokens can be written after those that are there."""
    positions = getattr(model.config, "max_position_embeddings", None)
    room = positions - used if isinstance(positions, int) else GENERATED_TOKENS
    return max(1, min(GENERATED_TOKENS, room))


def _unmasked(loaded: Loaded, text: str) -> Answer:
    import torch

    tokenizer = loaded.processor
    batch = tokenizer(text, return_tensors="pt", return_token_type_ids=False, truncation=True)
    places = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0]
    with torch.inference_mode():
        logits = loaded.model(**batch.to(loaded.model.device)).logits[0, places]
    scores, ids = logits.softmax(dim=-1).max(dim=-1)
    tokens = [tokenizer.decode([i]).strip() for i in ids.tolist()]
    return {"tokens": tokens, "scores": [round(score, DIGITS) for score in scores.tolist()]}


ANSWERED: dict[str, Tell] = {
    "text-classification": _classified,
    "image-classification": _classified,
    "token-classification": _tagged,
    "seq2seq": _written,
    "language-modeling": _continued,
}
"""The kinds whose models answer; those of a Trainer of one's own count as what they are."""
