"""The cores of a pair of processes that are timed side by side."""

from __future__ import annotations

import os


def cores_of(pair: int) -> list[int]:
    """Return a core for each of the two of a pair; the next pair has them swapped.

    Raises:
        SystemExit: this process may run on one core only.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("the two of a pair need a core each; here is only one")
    return cores if pair % 2 == 0 else cores[::-1]
