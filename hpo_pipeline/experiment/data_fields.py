"""The parts of the section `task` that say which rows and columns of the data are used."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hpo_pipeline.experiment.space import Count, Frozen, as_tuple
from hpo_pipeline.tasks.kind import Form

Share = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]


def _row_count(value: object) -> object:
    is_count = type(value) is int and value >= 1
    is_share = type(value) is float and 0 < value < 1
    if not (value is None or is_count or is_share):
        raise ValueError(f"must be a number of rows from 1, or a share below 1, got {value!r}")
    return value


RowCount = Annotated[Count | Share | None, BeforeValidator(_row_count)]


class Rows(Frozen):
    """How many rows each split gets: a number of rows, or a share of all.

    Left out, a split that comes with the data is taken whole; otherwise validation and test get
    15 % each and training the rest. `seed` decides which rows go where.
    """

    train: RowCount = None
    validation: RowCount = None
    test: RowCount = None
    seed: Annotated[int, Field(ge=0)] = 0


Names = Annotated[str | tuple[Name, ...] | None, BeforeValidator(as_tuple)]


class Columns(Frozen):
    """The names of the columns of the data; None finds the usual ones.

    `input` is a list of two for a pair of texts. `label` is a list where each of several labels
    has a column of its own, with 0 or 1 in it; `separator` stands between several labels in one
    column of text. Rows with the same `group` (a user, a document) are never in two splits.
    `order` is a date or a number: the last rows are the test rows, those before them validation.
    """

    input: Names = None
    label: Names = None
    separator: Name | None = None
    group: Name | None = None
    order: Name | None = None

    @model_validator(mode="after")
    def _different(self) -> Self:
        inputs, labels = as_names(self.input), as_names(self.label)
        if shared := [name for name in inputs if name in labels]:
            raise ValueError(
                f"input and label must be different columns, got {shared[0]!r} for both"
            )
        for key, names in (("input", inputs), ("label", labels)):
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: a column is named twice, got {list(names)!r}")
        for key in ("group", "order"):
            if (name := getattr(self, key)) in (*inputs, *labels) and name is not None:
                raise ValueError(f"{key}: must not be input or label too, got {name!r}")
        if self.group and self.order:
            raise ValueError("group and order are two ways to split; name one of them")
        return self

    def faults(self, kind: str, form: Form) -> list[str]:
        """Return what does not fit the data that a kind of task reads."""
        faults = []
        if isinstance(self.input, tuple) and (form.input != "pair" or len(self.input) != 2):
            what = "two texts" if form.input == "pair" else "one column"
            faults.append(
                f"columns.input: {kind} reads {what} here, got {list(self.input)!r}; join the "
                f"texts in a column of their own in the data"
            )
        if isinstance(self.label, tuple) and form.label != "classes":
            faults.append(f"columns.label: must be one column, got {list(self.label)!r}")
        if self.separator and form.label != "classes":
            faults.append("columns.separator: stands between several labels, and a row has one")
        if self.label is not None and form.label is None:
            faults.append(f"columns.label: {kind} learns from the inputs alone; leave it out")
        return faults


def as_names(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return names as a tuple, however many there are."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _known_encoding(name: str) -> str:
    try:
        is_text = codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError) as error:
        raise ValueError(f"must be an encoding of text such as utf-8, got {name!r}") from error
    if not is_text:
        raise ValueError(f"must be an encoding of text such as utf-8, got {name!r}")
    return name


Encoding = Annotated[str, AfterValidator(_known_encoding)]


def _one_character(sign: str) -> str:
    if len(sign) != 1 or sign in '\r\n"':
        raise ValueError(f"must be one character such as ; and no quote, got {sign!r}")
    return sign


Delimiter = Annotated[str, AfterValidator(_one_character)]
SplitNames = dict[Literal["train", "validation", "test"], Name]
