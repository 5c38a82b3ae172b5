"""How the runs of one experiment are named where each is an experiment of its own: NAME-MARK."""

from __future__ import annotations

import hashlib
import re

LONGEST = 40
"""Katib's limit for the name of an experiment."""
LONGEST_PBT = 26
_MARK = 8


def run_name(base: str, run_id: str, *, longest: int = LONGEST) -> str:
    """Return the name of an experiment in one run, which is the same for the same run."""
    mark = hashlib.sha256(run_id.encode()).hexdigest()[:_MARK]
    return f"{base[: longest - _MARK - 1].rstrip('-')}-{mark}"


def is_run_of(name: str, base: str) -> bool:
    """Return whether a name is that of a run of an experiment."""
    return any(
        re.fullmatch(
            f"{re.escape(base[: longest - _MARK - 1].rstrip('-'))}-[0-9a-f]{{{_MARK}}}", name
        )
        for longest in (LONGEST, LONGEST_PBT)
    )
