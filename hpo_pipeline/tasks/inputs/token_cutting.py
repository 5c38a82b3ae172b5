"""Cutting rows of tokens that consist of parts: the two texts of a pair, or the words of a text.

A trial may try a smaller `task.max_length` than the rows were encoded with. They are cut as the
tokenizer would have cut them: special tokens stay, and the longer text of a pair is cut first.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpo_pipeline.tasks.kind import Row

IGNORED = -100
"""The label of a token that the loss leaves out, as torch has it."""
SPECIAL = -1
"""The part of a token that belongs to no text."""
_OF_TOKENS = ("input_ids", "token_type_ids")


def cut_pair(row: Row, max_length: int) -> Row:
    """Cut a row whose `parts` say to which of two texts each token belongs."""
    parts = row["parts"]
    first, second = parts.count(0), parts.count(1)
    specials = len(parts) - first - second
    return _kept(row, "parts", _longest_first(first, second, max(0, max_length - specials)))


def cut_words(row: Row, max_length: int) -> Row:
    """Cut a row whose `word_ids` say to which word each token belongs."""
    words = row["word_ids"]
    specials = words.count(SPECIAL)
    if len(words) <= max_length:
        return row
    left, keep = max(0, max_length - specials), []
    for i, word in enumerate(words):
        if word == SPECIAL or left > 0:
            keep.append(i)
            left -= word != SPECIAL
    return _at(row, "word_ids", keep)


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text stay, as the tokenizers library counts them."""
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (long, short) if first > second else (short, long)


def _kept(row: Row, key: str, counts: tuple[int, int]) -> Row:
    if len(row[key]) <= sum(counts) + row[key].count(SPECIAL):
        return row
    left, keep = list(counts), []
    for i, part in enumerate(row[key]):
        if part == SPECIAL:
            keep.append(i)
        elif left[part] > 0:
            keep.append(i)
            left[part] -= 1
    return _at(row, key, keep)


def _at(row: Row, key: str, places: Sequence[int]) -> Row:
    names = [name for name in (*_OF_TOKENS, key) if name in row]
    return {**row, **{name: [row[name][i] for i in places] for name in names}}
