"""Several labels for a row: in one column with a separator, or in a column of 0 and 1 for each."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_pipeline.drafting import columns
from hpo_pipeline.drafting.profiles import Profile

SEPARATORS = ("|", ";", ",")
LEAST_FLAGS = 3
MOST_LABELS = 60
LONGEST_LABEL = 40


def separator_of(profile: Profile) -> str | None:
    """Return what separates several labels in the texts of a column, or None.

    The labels are short, and few beside the rows; and some rows have one of them alone, which a
    sentence with commas would not.
    """
    if profile.what not in ("word", "text"):
        return None
    texts = [str(value) for value in profile.values]
    for sign in SEPARATORS:
        several = [text for text in texts if sign in text]
        if len(several) < max(2, len(texts) // 20):
            continue
        labels = [label.strip() for text in texts for label in text.split(sign) if label.strip()]
        different = set(labels)
        is_short = all(len(label) <= LONGEST_LABEL for label in different)
        is_known = 2 <= len(different) <= min(MOST_LABELS, len(labels) // 3)
        alone = {text.strip() for text in texts if sign not in text}
        if is_short and is_known and alone <= different:
            return sign
    return None


def flag_columns(known: Sequence[Profile]) -> tuple[str, ...]:
    """Return the columns of 0 and 1 that are a label each; none where one column is the label."""
    flags = [
        p
        for p in known
        if p.what == "flag" and p.different == 2 and not columns.is_metadata(p.name)
    ]
    if len(flags) < LEAST_FLAGS or any(columns.rank(p.name) == 0 for p in known):
        return ()
    return tuple(p.name for p in flags)
