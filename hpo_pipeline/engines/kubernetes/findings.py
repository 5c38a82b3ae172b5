"""What a look at a cluster found, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what was found.
        is_right: whether the experiment can run with it.
        remedy: what to do where it is not right.
        is_known: False where nobody allowed us to look, so that `is_right` is only hoped for.
    """

    what: str
    is_right: bool = True
    remedy: str = ""
    is_known: bool = True

    @property
    def mark(self) -> str:
        """The word in front of the line: ok, FAULT, or ? where it could not be looked at."""
        if not self.is_known:
            return "?"
        return "ok" if self.is_right else "FAULT"
