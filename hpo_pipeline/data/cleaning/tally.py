"""What became of the rows of a file: read, left out and why, used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tally:
    """The rows of one pool (a file, or the files of one split), counted.

    Attributes:
        read: all rows of the files.
        without_input: left out, for the text is missing or blank.
        without_label: left out, for the label is missing or blank.
        unreadable: left out, for they cannot be read or are of another form.
        repaired: kept, with a broken character replaced.
        equal: left out, for another row has the same input and label.
        outvoted: left out, for most rows with the same input have another label.
        contradicting: left out, for rows with the same input disagree on the label.
        elsewhere: left out, for the input is in another split, by the name of that split.
        unused: left over, for the experiment asks for fewer.
    """

    read: int = 0
    without_input: int = 0
    without_label: int = 0
    unreadable: int = 0
    repaired: int = 0
    equal: int = 0
    outvoted: int = 0
    contradicting: int = 0
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    unused: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Return the counts of two files of one split, as they were read."""
        names = ("read", "without_input", "without_label", "unreadable", "repaired")
        return Tally(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def is_whole(self) -> bool:
        """Whether every row is used as it is."""
        return not self.reasons() and not self.repaired

    def reasons(self) -> list[str]:
        """Return why rows were left out, most basic reason first."""
        reasons = {
            "without a text or an image": self.without_input,
            "without a label": self.without_label,
            "that cannot be read": self.unreadable,
            "equal to another row": self.equal,
            "with a label that most rows of the same input do not have": self.outvoted,
            "with contradicting labels for the same input": self.contradicting,
            **{f"also in the {name} rows": count for name, count in self.elsewhere.items()},
            "not asked for by task.rows": self.unused,
        }
        return [f"{count:,} {reason}" for reason, count in reasons.items() if count]

    def sentence(self, name: str) -> str:
        """Return what a person should know of the rows of a split."""
        text = f"{name}: {self.read:,} rows read"
        if reasons := self.reasons():
            text += f"; left out: {', '.join(reasons)}"
        if self.repaired:
            text += f"; a broken character was replaced in {self.repaired:,}"
        return text + "."


def totals(tallies: Iterable[Tally]) -> dict[str, int]:
    """Return the counts of several pools together, by name."""
    names = ("read", "without_input", "without_label", "unreadable", "repaired", "equal")
    found = dict.fromkeys((*names, "outvoted", "contradicting", "elsewhere", "unused"), 0)
    for tally in tallies:
        for name in found:
            value = getattr(tally, name)
            found[name] += value if isinstance(value, int) else sum(value.values())
    return found
