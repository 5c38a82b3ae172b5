"""Sequence to sequence: an encoder-decoder model that writes a text for a text.

A trial is measured on what the model writes. Its settings for that are searched beside the others,
and are saved with the model (generation_config.json).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field

from hpo_pipeline.errors import TrialError
from hpo_pipeline.tasks import kind
from hpo_pipeline.tasks.generation.generation_metrics import generation_metrics, row_scores
from hpo_pipeline.tasks.generation.language_rows import ends
from hpo_pipeline.tasks.generation.token_windows import column
from hpo_pipeline.tasks.inputs.text_inputs import TextKind, list_lengths
from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
from hpo_pipeline.tasks.kind import Batch, Collate, Evaluated, Form, Loaded, Metric, Row, Shape
from hpo_pipeline.tasks.row_metrics.texts import text_counts
from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.task_fields import TaskFields as Task
from hpo_pipeline.tasks.token_metrics import TokenSums, rows_at_once
from hpo_pipeline.tasks.user_metrics import measure_own

MAX_ROWS = 32
"""Of a batch, when a finished model is measured."""
_METRICS = {
    "loss": Metric("mean negative log-likelihood of a token of the target", "lower", "nats"),
    **{
        f"rouge{n}": Metric(f"F1 of the {n}-grams of words, mean of rows", "higher") for n in (1, 2)
    },
    "rougeL": Metric("F1 of the longest common subsequence of words, mean of rows", "higher"),
    "bleu": Metric("BLEU of all rows by sacrebleu, from 0 to 100", "higher"),
    "chrf": Metric("chrF of all rows by sacrebleu, from 0 to 100", "higher"),
    "exact_match": Metric("share of rows with exactly the target", "higher"),
    "generated_tokens": Metric("mean number of tokens that are written", None),
}
_USAGE = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModelForSeq2SeqLM.from_pretrained("path/to/this/folder")
inputs = tokenizer("Write a text here.", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))"""


class Settings(kind.Settings):
    """The fields of seq2seq: the longest target in tokens, and how a text is written.

    With one beam, the likeliest token is taken each time, and `length_penalty` has no effect.
    """

    max_target_length: Annotated[int, Field(ge=2, le=16_384)] = 64
    num_beams: Annotated[int, Field(ge=1, le=64)] = 1
    length_penalty: float = 1.0
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=100)] = 0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0


class Seq2Seq(TextKind):
    """Texts from texts."""

    Settings: ClassVar[type[kind.Settings]] = Settings
    searchable: ClassVar[tuple[str, ...]] = (*TextKind.searchable, *Settings.model_fields)
    shared: ClassVar[tuple[str, ...]] = (*TextKind.shared, "bos_token_id", "eos_token_id")
    trains_head: ClassVar[bool] = False

    def pipeline(self, task: Task) -> str:
        """Return the name of the task on the hub."""
        return "text2text-generation"

    def predictor(self, task: Task, folder: str, **options: Any) -> Any:
        """Return what writes texts for texts: transformers has no pipeline for that any more."""
        from hpo_pipeline.tasks.generation.text_writer import TextWriter

        return TextWriter(folder, max_length=task.max_length, **options)

    def usage(self, task: Task) -> str:
        """Return Python lines that use the model."""
        return _USAGE

    def metrics(self, task: Task) -> Mapping[str, Metric]:
        """Return the metrics of generated texts."""
        return _METRICS

    def row_metrics(self, task: Task) -> frozenset[str]:
        """Return all of them."""
        return frozenset(_METRICS)

    def form(self, task: Task) -> Form:
        """Return that a row has two texts."""
        return Form("text", "text")

    def names(self, task: Task, labels: Iterable[Any]) -> list[str]:
        """Return that there are no labels to name."""
        return []

    def encode(
        self, task: Task, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return token ids of source and target, and the text of the target.

        From scratch, the decoder starts with the token that a row begins with, and the target
        does without: T5 knows tokens only by their distances, so to it one start is like two, and
        it would never know whether the text has begun.
        """
        options = {"truncation": True, "split_special_tokens": True, "verbose": False}
        source = processor(list(batch["input"]), max_length=task.max_length, **options)
        found = processor(text_target=list(batch["label"]), split_special_tokens=True)
        targets = found["input_ids"]
        if task.from_scratch:
            start, _ = ends(processor)
            targets = [ids[1:] if ids[:1] == [start] else ids for ids in targets]
        return {
            "input_ids": source["input_ids"],
            "target": targets,
            "reference": list(batch["label"]),
        }

    def padded_lengths(self, task: Task, rows: Any) -> Sequence[int]:
        """Return the tokens of source and target of each row, as far as they are not cut off."""
        pairs = zip(list_lengths(rows, "input_ids"), list_lengths(rows, "target"), strict=True)
        longest = task.settings.max_target_length
        return [min(a, task.max_length) + min(b, longest) for a, b in pairs]

    def collator(self, task: Task, processor: Any, shape: Shape | None) -> Collate:
        """Return the function that cuts and pads rows to a batch of tensors (rows x tokens)."""
        return _Pairs(processor, task.max_length, task.settings.max_target_length)

    def model_class(self, task: Task) -> Any:
        """Return transformers' auto class."""
        from transformers import AutoModelForSeq2SeqLM

        return AutoModelForSeq2SeqLM

    def model_fault(self, task: Task, config: Any) -> str | None:
        """Say that a model does not consist of encoder and decoder."""
        if getattr(config, "is_encoder_decoder", False):
            return None
        name = getattr(config, "model_type", type(config).__name__)
        return f"{name} is not an encoder with a decoder; name a model such as t5 or bart"

    def config_fields(self, task: Task, processor: Any, shape: Shape | None) -> dict[str, Any]:
        """Return the fields of the model's config that follow from the tokenizer."""
        start, end = ends(processor)
        ids = {"bos_token_id": start, "decoder_start_token_id": start, "eos_token_id": end}
        return {**super().config_fields(task, processor, shape), **ids}

    def trainer(self, task: Task, **arguments: Any) -> Any:
        """Return a Trainer that measures what the model writes, batch by batch."""
        from hpo_pipeline.tasks.reducing_trainer import ReducingTrainer

        model, args = arguments["model"], arguments["args"]
        tokenizer = arguments["data_collator"].tokenizer
        _set_generation(task.settings, model)
        args.per_device_eval_batch_size = rows_at_once(
            args.per_device_eval_batch_size,
            task.settings.max_target_length,
            model.get_output_embeddings().weight.shape[0],
        )
        measure = partial(_measured, task, arguments["eval_dataset"], tokenizer)
        return ReducingTrainer(measure=measure, extras={}, **arguments)

    def compute_metrics(
        self, task: Task, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]] | None:
        """Return None: the Trainer measures by itself."""
        return None

    def evaluate(self, task: Task, loaded: Loaded) -> Evaluated:
        """Measure what a finished model writes by its own settings for the test rows."""
        import numpy as np

        batches = (
            loaded.collate(list(loaded.rows[i : i + MAX_ROWS]))
            for i in range(0, len(loaded.rows), MAX_ROWS)
        )
        rows, columns = list(loaded.rows), dict[str, Any]()
        metrics = _measured(task, rows, loaded.processor, loaded.model, batches, columns=columns)
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        return Evaluated(metrics, rows=RowSums("texts", arrays))

    def forward(self, task: Task, model: Any, batch: dict[str, Any]) -> Any:
        """Write texts, as a deployment would."""
        return model.generate(**{n: batch[n] for n in ("input_ids", "attention_mask")})


class _Pairs:
    """Makes batches of encoded pairs."""

    def __init__(self, tokenizer: Any, source: int, target: int) -> None:
        self.tokenizer = tokenizer
        self._limits = source, target
        self._special = set(tokenizer.all_special_ids)

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        """Return `input_ids`, `attention_mask` and `labels`."""
        import torch

        sources = [self._cut(row["input_ids"], self._limits[0]) for row in rows]
        targets = [self._cut(row["target"], self._limits[1]) for row in rows]
        lengths = torch.tensor(list(map(len, sources)))
        return {
            "input_ids": _filled(sources, self.tokenizer.pad_token_id),
            "attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
            "labels": _filled(targets, IGNORED),
        }

    def _cut(self, ids: Sequence[int], limit: int) -> list[int]:
        """Cut ids as the tokenizer would: the closing special token stays."""
        if len(ids) <= limit:
            return list(ids)
        return [*ids[: limit - 1], ids[-1] if ids[-1] in self._special else ids[limit - 1]]


def _filled(rows: Sequence[list[int]], value: int) -> Any:
    import torch

    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def _set_generation(settings: Any, model: Any) -> None:
    """Give a model its settings for writing texts.

    Raises:
        TrialError: transformers refuses them.
    """
    own = settings.model_dump()
    own["max_new_tokens"] = own.pop("max_target_length")
    if own["num_beams"] == 1:
        own.pop("length_penalty")
    config = model.generation_config
    config.max_length = None
    try:
        config.update(**own)
        config.validate(strict=True)
    except ValueError as error:
        raise TrialError(f"task: the settings for writing texts are refused: {error}") from error


def _measured(
    task: Task,
    rows: Any,
    tokenizer: Any,
    model: Any,
    batches: Iterable[Any],
    *,
    columns: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Return the metrics of a model over the batches of these rows, in their order.

    Args:
        columns: gets what each row adds to them.
    """
    import torch

    sums, texts, written = TokenSums(), list[str](), list[int]()
    with torch.inference_mode():
        for batch in batches:
            inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
            sums.add(model(**inputs).logits, inputs.pop("labels"))
            ids = model.generate(**inputs)[:, 1:]
            written += (ids != tokenizer.pad_token_id).sum(-1).tolist()
            texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
    references = list(column(rows, "reference"))
    metrics = {"loss": sums.loss, **generation_metrics(texts, references)}
    if columns is not None:
        nats, tokens, _ = zip(*sums.of_rows, strict=True)
        columns |= {**row_scores(texts, references), **text_counts(texts, references)}
        columns |= {"nats": nats, "tokens": tokens, "generated_tokens": written}
    metrics["generated_tokens"] = sum(written) / max(1, len(texts))
    for name, target in task.metrics.items():
        metrics[name] = measure_own(name, target, texts, references)
    return metrics


KIND = Seq2Seq()
