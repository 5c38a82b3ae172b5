"""What a kind of task reads of the section `task`, whose schema it cannot import."""

from __future__ import annotations

from typing import Any, Literal, Protocol


class TaskFields(Protocol):
    """The fields of the section `task` that a kind reads, with a trial's own values in them."""

    @property
    def from_scratch(self) -> bool:
        """Whether the model starts with random weights."""

    @property
    def vocab_size(self) -> int | None:
        """Tokens of a tokenizer that is trained on the data, if one is."""

    @property
    def columns(self) -> Any:
        """The names of the columns: `input` is a tuple of two for a pair of texts."""

    @property
    def tokenizer(self) -> Literal["wordpiece", "bpe"] | None:
        """How that tokenizer finds its tokens; None takes the way of the model's own."""

    @property
    def max_length(self) -> int:
        """Tokens after which an input is cut."""

    @property
    def trust_remote_code(self) -> bool:
        """Whether code that comes with a model may run."""

    @property
    def config(self) -> dict[str, Any]:
        """Fields of the model's config that the file fixes or the trial tries."""

    @property
    def metrics(self) -> dict[str, str]:
        """The user's own metrics: name to `module:function`."""

    @property
    def settings(self) -> Any:
        """The kind's own fields, an instance of its `Settings`."""
