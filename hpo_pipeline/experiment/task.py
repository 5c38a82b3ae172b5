"""The section `task`: what is trained, and on which data."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from hpo_pipeline.experiment.checkpoint import Checkpoint
from hpo_pipeline.experiment.data_fields import Columns, Delimiter, Encoding, Rows, SplitNames
from hpo_pipeline.experiment.lora import Lora
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.secret_names import is_secret
from hpo_pipeline.experiment.space import Assignments, Frozen, as_tuple, section
from hpo_pipeline.experiment.uris import Uri
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Metric, Settings
from hpo_pipeline.tasks.user_metrics import shown


def _known_kind(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"must be one of {', '.join(map(repr, TASKS))}, got {name!r}")
    return name


TaskKindName = Annotated[
    str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": [*TASKS]})
]


Pattern = Annotated[str, Field(min_length=1)]
OneSource = Annotated[Uri, Field(min_length=1)]
Data = Annotated[
    OneSource | Annotated[tuple[OneSource, ...], Field(min_length=1)], BeforeValidator(as_tuple)
]


class Task(Frozen):
    """What is trained, on what, and everything that does not vary between trials.

    `settings` are the fields that only some kinds have; the file writes them beside the others.

    `data_version` is any text. Change it when the data behind a hub id or a URI have changed, which
    nothing else shows, and they are read again. `subset`, `revision` and the names of `splits` are
    those of a data set of the hub or of a saved one. `encoding` and `delimiter` of text files are
    found where they are not given, and `text_rows` says what a row of a `.txt` file is. More rows
    or images than `max_bad_rows` that cannot be read are an error.

    `reinitialise` names the weights that may start at random in a pretrained model, as shell
    patterns over their names (`bert.encoder.layer.3.*`); those of the head always may.
    `precision: auto` trains in bfloat16 where the hardware has it and the model is wide enough for
    it to pay, unless `training` or the space says `bf16` or `fp16`. `quantize: 4bit` keeps the
    frozen weights of a model with `lora` in four bits, which needs a GPU and the package
    bitsandbytes. `checkpoint` says how often a trial saves its training, so that it resumes where
    it was cut off; without it, it starts anew.
    """

    kind: TaskKindName
    model: Annotated[Uri, Field(min_length=1)] = ""
    data: Data = ""
    data_version: str | None = None
    subset: str | None = None
    revision: str | None = None
    splits: SplitNames = {}
    encoding: Encoding | None = None
    delimiter: Delimiter | None = None
    text_rows: Literal["lines", "paragraphs"] = "lines"
    max_bad_rows: Annotated[int, Field(ge=0)] = 0
    columns: Columns = Columns()
    rows: Rows = Rows()
    max_length: Annotated[int, Field(ge=4, le=131_072)] = 128
    from_scratch: bool = False
    vocab_size: Annotated[int, Field(ge=50)] | None = None
    tokenizer: Literal["wordpiece", "bpe"] | None = None
    freeze: Literal["none", "embeddings", "base"] = "none"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    lora: Lora | None = None
    quantize: Literal["4bit"] | None = None
    reinitialise: Annotated[tuple[Pattern, ...], BeforeValidator(as_tuple)] = ()
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    checkpoint: Checkpoint | None = None
    metrics: dict[str, str] = {}
    trust_remote_code: bool = False
    settings: SerializeAsAny[Settings] = Settings()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Let the section have the fields of every kind, beside those that all kinds have."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["properties"].pop("settings", None)
        for kind in TASKS.values():
            own = handler.resolve_ref_schema(handler(kind.Settings.__pydantic_core_schema__))
            schema["properties"] |= own.get("properties", {})
        return schema

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, content: Any) -> Any:
        """Put the kind's own fields, which the file writes beside the others, into `settings`."""
        kind = TASKS.get(str(content.get("kind"))) if isinstance(content, dict) else None
        if kind is None or isinstance(content.get("settings"), Settings):
            return content
        own = {name: content[name] for name in kind.Settings.model_fields if name in content}
        spare = {"model", "data"} - {*kind.needs}  # the written form of none is an empty text
        others = {
            name: value
            for name, value in content.items()
            if name not in own and not (name in spare and value == "")
        }
        given = others.get("settings", {})
        return {**others, "settings": {**given, **own} if isinstance(given, dict) else given}

    @model_serializer(mode="wrap")
    def _without_empty_settings(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out settings at their defaults, so that the hash of earlier runs stays the same."""
        content: dict[str, Any] = handler(self)
        return {n: v for n, v in content.items() if n != "settings" or v != {}}

    @field_validator("settings", mode="wrap")
    @classmethod
    def _of_kind(cls, value: Any, handler: Any, info: ValidationInfo) -> Settings:
        kind = TASKS.get(info.data.get("kind", ""))
        if kind is None or isinstance(value, kind.Settings):
            return value if isinstance(value, Settings) else Settings()
        return kind.Settings.model_validate(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vocab_size and not self.from_scratch:
            raise ValueError("vocab_size trains a tokenizer, which needs from_scratch: true")
        if faults := self.columns.faults(self.kind, TASKS[self.kind].form(self)):
            raise ValueError(faults[0])
        if self.tokenizer and not self.vocab_size:
            raise ValueError("tokenizer says how one is trained, which needs vocab_size")
        if self.reinitialise and self.from_scratch:
            raise ValueError("reinitialise is for pretrained weights; from_scratch has none")
        if self.lora and self.from_scratch:
            raise ValueError("lora adapts pretrained weights; from_scratch has none")
        if self.lora and self.freeze != "none":
            raise ValueError("lora freezes the model by itself; leave freeze out")
        if self.quantize and not self.lora:
            raise ValueError("quantize needs lora: quantised weights are not trained themselves")
        if found := [name for name in self.training if is_secret(name)]:
            raise ValueError(
                f"training.{found[0]}: credentials do not belong into the file, which is copied to "
                f"run folders and ConfigMaps; set HF_TOKEN in the environment"
            )
        for name in ("config", "training"):
            try:
                json.dumps(getattr(self, name), allow_nan=False)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{name}: must be plain, finite values ({error})") from error
        for name, target in self.metrics.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(f"metrics: a name has letters, digits and _, got {name!r}")
            if not re.fullmatch(r"(/.*/)?[A-Za-z_][\w.]*:[A-Za-z_]\w*", target):
                raise ValueError(f"metrics.{name}: must be module:function, got {target!r}")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything that `data` names, one or several."""
        if isinstance(self.data, str):
            return (self.data,) if self.data else ()
        return self.data

    @property
    def reported(self) -> dict[str, Metric]:
        """Every metric that a trial of this task reports."""
        own = {
            name: Metric(f"the user's {shown(target)}", None)
            for name, target in self.metrics.items()
        }
        return {**TASKS[self.kind].metrics(self), **own, **PRACTICAL_METRICS}

    @property
    def gate_rows(self) -> str:
        """On which rows a finished model is measured, in words."""
        return TASKS[self.kind].gate_rows(self)

    @property
    def metric_names(self) -> dict[str, str]:
        """The metrics that a trial of this task reports, with what they mean."""
        return {name: metric.description for name, metric in self.reported.items()}

    def assigned(self, assignments: Assignments) -> Task:
        """Return the task of a trial: with the values that the search chose for it.

        Args:
            assignments: by the names of the space; those of fields that are no longer there are
                left out.
        """
        own = section(assignments, "task")
        names = set(type(self.settings).model_fields)
        settings = {name: value for name, value in own.items() if name in names}
        fields = {n: v for n, v in own.items() if n not in names and n in type(self).model_fields}
        lora = self.lora and self.lora.model_dump()
        return self.model_copy(
            update={
                **fields,
                "lora": lora and Lora.model_validate({**lora, **section(assignments, "lora")}),
                "config": {**self.config, **section(assignments, "model")},
                "training": {**self.training, **section(assignments, "")},
                "settings": self.settings.model_copy(update=settings),
            }
        )
