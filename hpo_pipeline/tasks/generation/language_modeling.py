"""Language modeling: predicting the next token (causal), or tokens that are hidden (masked).

A causal model learns from texts, from completions of prompts, or from chats. Nothing is cut: what
is longer than `task.max_length` is learnt and measured in several windows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.tasks import kind
from hpo_pipeline.tasks.generation.chat_messages import check_template, encoded_chat
from hpo_pipeline.tasks.generation.language_rows import (
    COLUMNS,
    encoded_completions,
    encoded_texts,
    ends,
    window_ends,
)
from hpo_pipeline.tasks.generation.model_sight import sight_of, without_cache
from hpo_pipeline.tasks.generation.token_windows import (
    MASKED_SHARE,
    Blocks,
    MaskedWindows,
    Padded,
    Windows,
    column,
    row_columns,
)
from hpo_pipeline.tasks.inputs.text_inputs import TextKind
from hpo_pipeline.tasks.kind import Batch, Collate, Evaluated, Form, Loaded, Metric, Row, Shape
from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.task_fields import TaskFields as Task
from hpo_pipeline.tasks.token_metrics import TokenSums, bits_per_byte, rows_at_once

logger = logging.getLogger(__name__)
MAX_ROWS = 64
"""Of a batch, when a finished model is measured."""
_NOTHING = (
    "there is nothing to learn: no row has a completion, a message of the assistant, or a text of "
    "two tokens"
)

_METRICS = {
    "loss": Metric("mean negative log-likelihood of a predicted token", "lower", "nats"),
    "perplexity": Metric("exponential of the loss", "lower"),
    "token_accuracy": Metric("share of predicted tokens that were the likeliest", "higher"),
}
_BITS = Metric("bits to write a byte of the text, whatever the tokenizer", "lower", "bits")
_CAUSAL_USAGE = """\
from transformers import pipeline

generate = pipeline("text-generation", model="path/to/this/folder")
print(generate("Once upon a time", max_new_tokens=40))"""
_CHAT_USAGE = """\
from transformers import pipeline

chat = pipeline("text-generation", model="path/to/this/folder")
print(chat([{"role": "user", "content": "Hello!"}], max_new_tokens=40))"""
_MASKED_USAGE = """\
from transformers import pipeline

fill = pipeline("fill-mask", model="path/to/this/folder")
print(fill(f"A sentence with a {fill.tokenizer.mask_token} in it."))"""


class Settings(kind.Settings):
    """The fields of language modeling.

    `examples` says what a row holds: a text; a prompt (input) and its completion (label), which
    alone is learnt; or a chat, of which the assistant's messages are learnt. `packing` puts several
    short texts into one row of a training batch. `mlm_probability` is the share of tokens that are
    hidden in the training of a masked model.
    """

    language_model: Literal["causal", "masked"] = "causal"
    examples: Literal["texts", "completions", "chats"] = "texts"
    packing: bool = False
    mlm_probability: Annotated[float, Field(gt=0, lt=1)] = MASKED_SHARE

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.language_model == "masked" and self.examples != "texts":
            raise ValueError(f"a masked model learns from texts, got examples: {self.examples}")
        if self.language_model == "masked" and self.packing:
            raise ValueError("packing is for causal models: a masked one cannot keep texts apart")
        return self


class LanguageModeling(TextKind):
    """Causal and masked language models."""

    Settings: ClassVar[type[kind.Settings]] = Settings
    searchable: ClassVar[tuple[str, ...]] = (
        *TextKind.searchable,
        "packing",
        "mlm_probability",
    )
    shared: ClassVar[tuple[str, ...]] = (*TextKind.shared, "bos_token_id", "eos_token_id")
    is_cut: ClassVar[bool] = False
    idle: ClassVar[str] = "without a token to predict"
    trains_head: ClassVar[bool] = False
    has_own_metrics: ClassVar[bool] = False

    def pipeline(self, task: Task) -> str:
        """Return transformers' name of the pipeline."""
        return "fill-mask" if _is_masked(task) else "text-generation"

    def usage(self, task: Task) -> str:
        """Return Python lines that use the model."""
        if _is_masked(task):
            return _MASKED_USAGE
        return _CHAT_USAGE if task.settings.examples == "chats" else _CAUSAL_USAGE

    def metrics(self, task: Task) -> Mapping[str, Metric]:
        """Return the metrics over predicted tokens."""
        return _METRICS if _is_masked(task) else {**_METRICS, "bits_per_byte": _BITS}

    def row_metrics(self, task: Task) -> frozenset[str]:
        """Return all of them."""
        return frozenset(self.metrics(task))

    def form(self, task: Task) -> Form:
        """Return what the examples consist of."""
        match task.settings.examples:
            case "completions":
                return Form("text", "text")
            case "chats":
                return Form("messages", None)
        return Form("text", None)

    def names(self, task: Task, labels: Iterable[Any]) -> list[str]:
        """Return that there are no labels to name."""
        return []

    def processor(self, task: Task, source: str, inputs: Sequence[Any], shape: Shape | None) -> Any:
        """Return the tokenizer, which must have what the examples need.

        Raises:
            DataError: there is none, or it has no chat template or no mask where one is needed.
        """
        tokenizer = super().processor(task, source, inputs, shape)
        if task.settings.examples == "chats":
            check_template(tokenizer, source)
        if _is_masked(task) and tokenizer.mask_token_id is None:
            raise DataError(
                f"task.model: the tokenizer of {source!r} has no mask token, which a masked "
                f"language model needs; name a model such as BERT or RoBERTa, or set "
                f"language_model: causal"
            )
        return tokenizer

    def encode(
        self, task: Task, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return token ids of whole texts, where they are learnt, and the bytes of that text."""
        inputs = batch["input"]
        match task.settings.examples:
            case "chats":
                rows = [encoded_chat(messages, processor) for messages in inputs]
            case "completions":
                rows = encoded_completions(inputs, batch["label"], processor)
            case _:
                rows = encoded_texts(inputs, processor, bare=_is_masked(task))
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        return {**columns, "length": [len(row["input_ids"]) for row in rows]}

    def length(self, row: Row) -> int:
        """Return the tokens of a row, or 0 where none of them is learnt."""
        learnt = row["learnt"]
        is_learnt = any(map(int.__lt__, learnt[::2], learnt[1::2]))
        return int(row["length"]) if is_learnt else 0

    def padded_lengths(self, task: Task, rows: Any) -> Sequence[int] | None:
        """Return None: a batch of short windows has little to predict, and would count in full.

        Masked models learnt more slowly so. Packing saves the padding of causal ones.
        """
        return None

    def collator(self, task: Task, processor: Any, shape: Shape | None) -> Collate:
        """Return the function that pads rows to a batch of tensors (rows x tokens)."""
        around = window_ends(processor) if _is_masked(task) else ([], [])
        return Padded(processor, task.max_length, around)

    def model_class(self, task: Task) -> Any:
        """Return transformers' auto class."""
        from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

        return AutoModelForMaskedLM if _is_masked(task) else AutoModelForCausalLM

    def model_fault(self, task: Task, config: Any) -> str | None:
        """Say that an encoder cannot predict what comes next, or a decoder what is hidden."""
        from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

        is_known = {
            name: type(config) in auto._model_mapping
            for name, auto in (("causal", AutoModelForCausalLM), ("masked", AutoModelForMaskedLM))
        }
        is_encoder = is_known["masked"] and getattr(config, "is_decoder", True) is False
        name = getattr(config, "model_type", type(config).__name__)
        if _is_masked(task):
            if not is_known["masked"] and is_known["causal"]:
                return f"{name} is a decoder, which sees no later token; set language_model: causal"
        elif is_encoder:
            return (
                f"{name} is an encoder, which would see the tokens that it has to predict; name a "
                f"decoder such as gpt2 or llama, or set language_model: masked"
            )
        return None

    def config_fields(self, task: Task, processor: Any, shape: Shape | None) -> dict[str, Any]:
        """Return the fields of the model's config that follow from the tokenizer."""
        start, end = ends(processor)
        ids = {"bos_token_id": start, "eos_token_id": end}
        return {**super().config_fields(task, processor, shape), **ids}

    def trainer(self, task: Task, **arguments: Any) -> Any:
        """Return a Trainer over windows of the rows, which measures batch by batch.

        Raises:
            TrialError: nothing can be learnt from the rows, or the model sees later tokens.
        """
        from hpo_pipeline.tasks.epoch_rows import EpochCallback
        from hpo_pipeline.tasks.generation.learnt_outputs import LanguageTrainer

        model, args = arguments["model"], arguments["args"]
        tokenizer = arguments["data_collator"].tokenizer
        rows, size = arguments["eval_dataset"], task.max_length
        if _is_masked(task):
            share = task.settings.mlm_probability
            train: Any = _masked(
                arguments["train_dataset"], size, tokenizer, share, seed=args.seed, epoch=0
            )
            arguments["callbacks"] = [*arguments.get("callbacks", ()), EpochCallback(train)]
            extras = {}
        else:
            train = _read_by(model, Windows.of(arguments["train_dataset"], size), task)
            extras = without_cache(model)
        test = _windows(task, rows, tokenizer, size)
        if not len(train) or not len(test):
            raise TrialError(_NOTHING)
        args.per_device_eval_batch_size = rows_at_once(
            args.per_device_eval_batch_size, size, _vocabulary(model)
        )
        arguments |= {"train_dataset": train, "eval_dataset": test, "ahead": not _is_masked(task)}
        return LanguageTrainer(measure=partial(_measured, task, rows), extras=extras, **arguments)

    def compute_metrics(
        self, task: Task, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]] | None:
        """Return None: the Trainer measures by itself."""
        return None

    def evaluate(self, task: Task, loaded: Loaded) -> Evaluated:
        """Measure a finished model on the test rows."""
        model, size = loaded.model, task.max_length
        positions = getattr(model.config, "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 1:
            size = min(size, positions)
        windows = _windows(task, loaded.rows, loaded.processor, size)
        if not len(windows):
            raise TrialError(_NOTHING)
        at_once = rows_at_once(MAX_ROWS, size, _vocabulary(model))
        batches = (
            loaded.collate([windows[i] for i in range(n, min(n + at_once, len(windows)))])
            for n in range(0, len(windows), at_once)
        )
        found = _sums(task, model, batches)
        texts = () if _is_masked(task) else ("bytes", "unknown")
        columns = row_columns(loaded.rows, windows, found.of_rows, texts)
        return Evaluated(_metrics(task, loaded.rows, found), rows=RowSums("tokens", columns))


def _read_by(model: Any, windows: Windows, task: Task) -> Windows | Blocks:
    """Return what a causal model trains on, packed where the task says so.

    Raises:
        TrialError: the model sees later tokens.
    """
    sight = sight_of(model)
    if sight.later:
        raise TrialError(
            f"task.model: {type(model).__name__} sees the tokens that it has to predict; name a "
            f"decoder such as gpt2 or llama, or set language_model: masked"
        )
    if not task.settings.packing:
        return windows
    if not sight.separates:
        logger.warning(
            "%s cannot keep packed texts apart: a text sees those before it in its row",
            type(model).__name__,
        )
    return Blocks.of(windows, separate=sight.separates)


def _is_masked(task: Task) -> bool:
    return bool(task.settings.language_model == "masked")


def _windows(task: Task, rows: Sequence[Row], tokenizer: Any, size: int) -> Windows | MaskedWindows:
    """Return the windows of rows that are measured."""
    return _masked(rows, size, tokenizer) if _is_masked(task) else Windows.of(rows, size)


def _masked(
    rows: Sequence[Row], size: int, tokenizer: Any, share: float = MASKED_SHARE, **training: Any
) -> MaskedWindows:
    plain = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    mask = tokenizer.mask_token_id
    return MaskedWindows(rows, size, window_ends(tokenizer), mask, plain, share, **training)


def _measured(
    task: Task, rows: Sequence[Row], model: Any, batches: Iterable[Any]
) -> dict[str, float]:
    """Return the metrics of a model over the batches that were made of these rows."""
    return _metrics(task, rows, _sums(task, model, batches))


def _sums(task: Task, model: Any, batches: Iterable[Any]) -> TokenSums:
    from hpo_pipeline.tasks.generation.learnt_outputs import language_sums

    if _is_masked(task):
        return language_sums(model, batches, {}, ahead=False)
    return language_sums(model, batches, without_cache(model), ahead=True)


def _metrics(task: Task, rows: Sequence[Row], found: TokenSums) -> dict[str, float]:
    if _is_masked(task):
        return found.metrics
    size, unknown = (sum(column(rows, name)) for name in ("bytes", "unknown"))
    return {**found.metrics, "bits_per_byte": bits_per_byte(found.nats, size, unknown)}


def _vocabulary(model: Any) -> int:
    return int(model.get_output_embeddings().weight.shape[0])


KIND = LanguageModeling()
