"""Rows of a language model's training: windows of long texts, masked words, packed blocks.

An encoded row is a whole text. It is cut into windows only when a trial reads it, so trials may try
different lengths and are still measured on the same tokens.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
from hpo_pipeline.tasks.kind import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

MASKED_SHARE = 0.15
"""The share of tokens that are masked when a model is evaluated."""


@dataclass(frozen=True)
class Windows:
    """Windows of at most `size` tokens; each token of a row is predicted in exactly one of them.

    A window starts with the last token of the one before, so that its first prediction has
    something to start from. Windows with nothing to predict are left out.

    Attributes:
        rows: encoded rows with `input_ids`, their `length`, and `learnt`: first and last + 1 of
            each stretch of tokens that is predicted, one after the other.
    """

    rows: Sequence[Row]
    size: int
    index: NDArray[Any] = field(repr=False)

    @classmethod
    def of(cls, rows: Any, size: int) -> Windows:
        """Find the windows; rows are read one by one, and only their stretches."""
        import numpy as np

        stretches = enumerate(column(rows, "learnt"))
        found = [(i, start) for i, learnt in stretches for start in _starts(learnt, size)]
        return cls(rows, size, np.asarray(found, dtype=np.int64).reshape(-1, 2))

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.index)

    def __getitem__(self, i: int) -> Row:
        """Return the `input_ids` and `labels` of a window."""
        number, start = (int(n) for n in self.index[i])
        row = self.rows[number]
        return window(row, start, self.size)

    def lengths(self) -> list[int]:
        """Return the tokens of each window."""
        lengths = list(column(self.rows, "length"))
        return [min(self.size, lengths[number] - start) for number, start in self.index.tolist()]


def column(rows: Any, name: str) -> Iterable[Any]:
    """Return the values of one column of rows, which are a list or a table of `datasets`."""
    return (row[name] for row in rows) if isinstance(rows, list) else rows[name]


def row_columns(
    rows: Sequence[Row],
    windows: Windows | MaskedWindows,
    sums: Sequence[tuple[float, int, int]],
    names: Sequence[str],
) -> dict[str, NDArray[Any]]:
    """Return what each row adds to the metrics, over all of its windows.

    Args:
        sums: the negative log-likelihood, the predicted tokens and the right ones of each window.
        names: columns of the rows that count, too.
    """
    import numpy as np

    total = np.zeros((len(rows), 3))
    np.add.at(total, [int(number) for number, _ in windows.index], np.asarray(sums))
    found = dict(zip(("nats", "tokens", "right"), total.T, strict=True))
    return {**found, **{name: np.asarray(list(column(rows, name))) for name in names}}


def window(row: Row, start: int, size: int) -> Row:
    """Return the `input_ids` and `labels` of the window of a row that starts there."""
    ids = list(row["input_ids"][start : start + size])
    labels = [IGNORED] * len(ids)
    for first, last in _pairs(row["learnt"]):
        for i in range(max(first - start, 1), min(last - start, len(ids))):
            labels[i] = ids[i]
    return {"input_ids": ids, "labels": labels}


def _starts(learnt: Sequence[int], size: int) -> list[int]:
    """Return where windows start that have something to predict, given the stretches."""
    step = size - 1
    found = {
        number * step
        for first, last in _pairs(learnt)
        for number in range((max(first, 1) - 1) // step, (last - 2) // step + 1)
    }
    return sorted(found)


def _pairs(learnt: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(learnt[::2], learnt[1::2], strict=True))


@dataclass
class MaskedWindows:
    """Windows of texts in which some tokens are hidden, and are to be found.

    Evaluation hides the same tokens each time, all of them behind the mask. Training hides others
    in each epoch: 80 % behind the mask, 10 % behind a random token, and 10 % are left as they are.

    Attributes:
        ends: the special tokens before and after each window.
        mask: id of the mask; `plain` are the ids that may replace a token.
        share: of the tokens that are hidden.
        epoch: None for evaluation.
    """

    rows: Sequence[Row]
    size: int
    ends: tuple[list[int], list[int]]
    mask: int
    plain: Sequence[int]
    share: float
    seed: int = 0
    epoch: int | None = None
    index: list[tuple[int, int]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Find the windows."""
        step = self.size - sum(map(len, self.ends))
        lengths = column(self.rows, "length")
        self.index = [(i, s) for i, length in enumerate(lengths) for s in range(0, length, step)]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.index)

    def __getitem__(self, i: int) -> Row:
        """Return the `input_ids` and `labels` of a window."""
        import numpy as np

        number, start = self.index[i]
        before, after = self.ends
        step = self.size - len(before) - len(after)
        ids = np.asarray(self.rows[number]["input_ids"][start : start + step], dtype=np.int64)
        turn = [i] if self.epoch is None else [self.seed, self.epoch, i]
        rng = np.random.default_rng([len(ids), *turn])
        hidden = rng.random(len(ids)) < self.share
        if not hidden.any():
            hidden[rng.integers(len(ids))] = True
        labels = np.where(hidden, ids, IGNORED)
        shown = np.where(hidden, self.mask, ids)
        if self.epoch is not None:
            dice = rng.random(len(ids))
            others = np.asarray(self.plain)[rng.integers(len(self.plain), size=len(ids))]
            shown = np.where(hidden & (dice < 0.1), others, shown)
            shown = np.where(hidden & (dice >= 0.9), ids, shown)
        return {
            "input_ids": [*before, *shown.tolist(), *after],
            "labels": [IGNORED] * len(before) + labels.tolist() + [IGNORED] * len(after),
        }


@dataclass(frozen=True)
class Blocks:
    """Windows packed into blocks, so that a batch has next to no padding.

    Attributes:
        blocks: numbers of windows, by block.
        separate: whether positions start again with each window, by which models keep texts apart.
    """

    windows: Windows
    blocks: Sequence[Sequence[int]]
    separate: bool

    @classmethod
    def of(cls, windows: Windows, *, separate: bool) -> Blocks:
        """Pack windows: the longest first, each where the least room is left over."""
        lengths = windows.lengths()
        blocks: list[list[int]] = []
        with_room: dict[int, list[int]] = {}
        rooms: list[int] = []
        for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
            place = bisect.bisect_left(rooms, lengths[i])
            if place == len(rooms):
                blocks.append([])
                number, room = len(blocks) - 1, windows.size
            else:
                room = rooms[place]
                number = with_room[room].pop()
                if not with_room[room]:
                    del with_room[room], rooms[place]
            blocks[number].append(i)
            left = room - lengths[i]
            if left not in with_room:
                bisect.insort(rooms, left)
                with_room[left] = []
            with_room[left].append(number)
        return cls(windows, blocks, separate)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def __getitem__(self, i: int) -> Row:
        """Return the `input_ids` and `labels` of a block, and its `position_ids`."""
        parts = [self.windows[number] for number in self.blocks[i]]
        block = {name: [n for part in parts for n in part[name]] for name in parts[0]}
        lengths = [len(part["input_ids"]) for part in parts]
        if self.separate:
            block["position_ids"] = [n for length in lengths for n in range(length)]
        return block


@dataclass(frozen=True)
class Padded:
    """Makes a batch of tensors (rows x tokens) of windows or blocks; whole rows are cut to `size`.

    Batches of blocks that keep texts apart have `position_ids` and no attention mask: transformers
    then separates what starts at position 0 again, the padding too.

    Attributes:
        ends: the special tokens before and after a whole row.
    """

    tokenizer: Any
    size: int
    ends: tuple[list[int], list[int]] = ((), ())  # type: ignore[assignment]

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        """Return `input_ids`, `labels`, and an attention mask or positions."""
        import torch

        rows = [row if "labels" in row else self._cut(row) for row in rows]
        width = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": self.tokenizer.pad_token_id, "labels": IGNORED}
        batch = {
            name: torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])
            for name, value in fill.items()
        }
        if "position_ids" in rows[0]:
            positions = [row["position_ids"] for row in rows]
            batch["position_ids"] = torch.tensor([[*p, *range(width - len(p))] for p in positions])
        else:
            lengths = torch.tensor([len(row["input_ids"]) for row in rows])
            batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
        return batch

    def _cut(self, row: Row) -> Row:
        """Return the first window of a row, with nothing to predict."""
        before, after = self.ends
        ids = row["input_ids"][: self.size - len(before) - len(after)]
        return {"input_ids": (ids := [*before, *ids, *after]), "labels": [IGNORED] * len(ids)}
