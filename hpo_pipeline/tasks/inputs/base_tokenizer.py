"""The tokenizer that belongs to a base model: it has to be there, and to fit.

transformers makes an empty tokenizer for a folder that has none, and a model takes any ids below
the size of its embeddings, so a wrong one would train without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.inputs.base_config import base_config, one_line
from hpo_pipeline.tasks.task_fields import TaskFields


def base_tokenizer(task: TaskFields, source: str) -> Any:
    """Return the tokenizer of the base model, which can pad.

    Of an architecture by name, it is an empty one that `task.vocab_size` lets be trained.

    Raises:
        DataError: there is none, it has no vocabulary, or it does not fit the model's embeddings.
    """
    from transformers import AutoTokenizer
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = base_config(task, source)
    if source in CONFIG_MAPPING_NAMES and not Path(source).is_dir():
        return _empty(task, source, config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, use_fast=True, trust_remote_code=task.trust_remote_code
        )
        words = tokenizer.get_vocab()
    # Files that others wrote make the tokenizers raise anything.
    except Exception as error:
        raise DataError(f"task.model: {source!r} has no tokenizer: {one_line(error)}") from error
    if not set(words) - set(tokenizer.all_special_tokens):
        raise DataError(
            f"task.model: {source!r} has no tokenizer, only its special tokens: add the files of "
            f"the tokenizer (tokenizer.json) to it"
        )
    embeddings = getattr(config, "vocab_size", None)
    largest = max(words.values())
    if isinstance(embeddings, int) and not task.from_scratch and largest >= embeddings:
        raise DataError(
            f"task.model: the tokenizer of {source!r} has ids up to {largest}, but the model has "
            f"embeddings for {embeddings} tokens: they do not belong together"
        )
    return _padding(tokenizer, source, getattr(config, "pad_token_id", None))


def _empty(task: TaskFields, name: str, config: Any) -> Any:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING

    if not task.vocab_size:
        raise DataError(
            f"task.model: {name} is an architecture without a tokenizer; set vocab_size, which "
            f"trains one on the training rows"
        )
    try:
        kinds = TOKENIZER_MAPPING[type(config)]
        kind = next(k for k in reversed(kinds if isinstance(kinds, tuple) else (kinds,)) if k)
        tokenizer = kind()
    # Whether a tokenizer can be made without files depends on the architecture.
    except Exception as error:
        raise DataError(
            f"task.model: {name} has no tokenizer that could be trained; set tokenizer: bpe or "
            f"wordpiece, or name a model folder that has one"
        ) from error
    return _padding(tokenizer, name, None)


def _padding(tokenizer: Any, source: str, pad_id: object) -> Any:
    """Give a tokenizer without a padding token the one of the model, or that of the text's end."""
    if tokenizer.pad_token is not None:
        return tokenizer
    own = tokenizer.convert_ids_to_tokens(pad_id) if isinstance(pad_id, int) else None
    tokenizer.pad_token = own or tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise DataError(f"task.model: the tokenizer of {source!r} has no token to pad rows with")
    return tokenizer
