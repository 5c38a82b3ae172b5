"""The reasons of failed trials as a few kinds, for a label that must stay small."""

from __future__ import annotations

import re

_KINDS = {
    "out_of_memory": r"lack of memory|out of memory|OOM",
    "evicted": r"evicted|preempted",
    "not_scheduled": r"cannot be scheduled",
    "image": r"\bimage\b",
    "killed": r"killed|SIGKILL|SIGTERM|ended with the experiment",
    "no_metrics": r"without reporting|no finite|not finite|is nan\b",
    "exit_code": r"exit code",
}
"""By kind, what its reasons say; the first that fits counts."""
OTHER = "other"
KINDS = (*_KINDS, OTHER)


def failure_kind(reason: str) -> str:
    """Return the kind of a reason."""
    return next((k for k, words in _KINDS.items() if re.search(words, reason, re.I)), OTHER)
