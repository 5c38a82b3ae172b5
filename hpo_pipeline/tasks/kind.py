"""What a kind of task consists of: the types of the table TASKS.

Everything here is cheap to import, because the schema of the experiment file reads the table.
"""

from __future__ import annotations

from typing import Protocol


class TaskFields(Protocol):
    """The fields of the section `task` that a kind reads."""

    @property
    def from_scratch(self) -> bool:
        """Whether the model starts with random weights."""

    @property
    def vocab_size(self) -> int | None:
        """Tokens of a tokenizer that is trained on the data, if one is."""

    @property
    def trust_remote_code(self) -> bool:
        """Whether code that comes with a model may run."""
