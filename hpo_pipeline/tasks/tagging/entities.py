"""Tags of words that mark entities: their schemes, the spans they mark, and how spans are scored.

The rules are those of seqeval and of conlleval, the script of the CoNLL shared tasks: an entity
counts as found where its first word, its last word and its type are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

SchemeName = Literal["auto", "IO", "IOB1", "IOB2", "BIOES", "BILOU", "none"]
Span = tuple[str, int, int]
"""Type, first and last word of an entity."""
OUTSIDE = "O"
_PREFIXES = {"IO": "I", "IOB1": "BI", "IOB2": "BI", "BIOES": "BIES", "BILOU": "BILU"}
_SAME = {"L": "E", "U": "S"}  # BILOU's letters for what BIOES writes E and S


def tag_names(tags: Iterable[str], scheme: SchemeName) -> list[str]:
    """Return the tags of a scheme in order: O, then by type, with those that no row has.

    Raises:
        ValueError: a tag is not of the scheme; the message names it.
    """
    seen = set(tags) - {OUTSIDE}
    for tag in sorted(seen):
        if fault := _alphabet_fault(tag, scheme):
            raise ValueError(fault)
    prefixes = {tag[0] for tag in seen}
    if scheme == "auto" and not any(prefixes <= set(known) for known in _PREFIXES.values()):
        raise ValueError(
            f"the tags mix the schemes BIOES and BILOU: their letters are "
            f"{', '.join(sorted(prefixes))}"
        )
    letters = prefixes if scheme == "auto" else set(_PREFIXES[scheme])
    order = [letter for letter in "BIELSU" if letter in letters]
    types = sorted({tag[2:] for tag in seen})
    return [OUTSIDE, *(f"{letter}-{kind}" for kind in types for letter in order)]


def row_fault(tags: Sequence[str], scheme: SchemeName) -> str | None:
    """Return why the tags of a row do not follow a scheme, or None; `auto` takes any order."""
    if scheme in ("none", "auto"):
        return None
    for before, tag in zip([OUTSIDE, *tags], [*tags, OUTSIDE], strict=True):
        if tag != OUTSIDE and (fault := _alphabet_fault(tag, scheme)):
            return fault
        is_same = before != OUTSIDE and tag != OUTSIDE and before[2:] == tag[2:]
        if scheme == "IOB2" and tag[0] == "I" and not is_same:
            return f"{tag!r} after {before!r}: in IOB2 an entity begins with B-"
        if scheme == "IOB1" and tag[0] == "B" and not is_same:
            return f"{tag!r} after {before!r}: in IOB1 B- only divides entities of one type"
        if scheme in ("BIOES", "BILOU"):
            is_open = before[0] in "BI"
            if is_open != (is_same and tag[0] in "IEL"):
                return f"{tag!r} after {before!r}: {scheme} does not allow that"
            if not is_open and tag[0] in "IEL":
                return f"{tag!r} after {before!r}: {scheme} does not allow that"
    return None


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities that tags of any scheme mark, as seqeval finds them by default."""
    found: list[Span] = []
    before = OUTSIDE
    for i, tag in enumerate(tags):
        if tag != OUTSIDE:
            if _begins(before, tag):
                found.append((tag[2:], i, i))
            else:
                kind, first, _ = found[-1]
                found[-1] = (kind, first, i)
        before = tag
    return found


def entity_scores(
    predicted: Sequence[Sequence[str]], true: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Return precision, recall and F1 over all entities, and the mean F1 of their types.

    Args:
        predicted: tags of the words of each row.
        true: the right ones, as many.
    """
    right: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for answer, truth in zip(predicted, true, strict=True):
        for total, of_row in zip(
            (right, answered, wanted), entity_counts(answer, truth), strict=True
        ):
            total.update(of_row)
    precision, recall, f1 = _scores(right.total(), answered.total(), wanted.total())
    types = sorted(answered.keys() | wanted.keys())
    by_type = [_scores(right[kind], answered[kind], wanted[kind])[2] for kind in types]
    macro = sum(by_type) / len(types) if types else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "f1_macro": macro}


def entity_counts(
    answer: Sequence[str], truth: Sequence[str]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return how many entities of each type a row has right, answered and wanted."""
    found, there = set(spans(answer)), set(spans(truth))
    right, answered, wanted = (
        Counter(kind for kind, *_ in each) for each in (found & there, found, there)
    )
    return right, answered, wanted


def _scores(right: int, answered: int, wanted: int) -> tuple[float, float, float]:
    """Return precision, recall and F1; a share of nothing is 0, as it is for seqeval."""
    return (
        right / answered if answered else 0.0,
        right / wanted if wanted else 0.0,
        2 * right / (answered + wanted) if answered + wanted else 0.0,
    )


def _alphabet_fault(tag: str, scheme: SchemeName) -> str | None:
    letters = "BIELSU" if scheme == "auto" else _PREFIXES[scheme]
    if len(tag) > 2 and tag[1] == "-" and tag[0] in letters:
        return None
    if scheme == "auto":
        return (
            f"{tag!r} marks no entity: a tag is O, or a letter of {', '.join(letters)} with - and "
            f"a type, such as B-PER; for other tags, such as parts of speech, set scheme: none"
        )
    return f"{tag!r} is no tag of {scheme}: its tags are O, and {_examples(letters)}"


def _examples(letters: str) -> str:
    return ", ".join(f"{letter}-TYPE" for letter in letters)


def _begins(before: str, tag: str) -> bool:
    letters = (_SAME.get(before[0], before[0]), _SAME.get(tag[0], tag[0]))
    return before == OUTSIDE or letters[0] in "ES" or letters[1] in "BS" or before[2:] != tag[2:]
