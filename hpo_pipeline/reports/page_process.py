"""The report of a run, written in a process of its own, for its plots need much memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def command() -> list[str]:
    """Return the command, as far as the folder of the run."""
    return [sys.executable, "-P", "-m", "hpo_pipeline.reports.html"]


def write_page(folder: Path) -> str | None:
    """Write the report of a run folder; return why it could not be written."""
    done = subprocess.run([*command(), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
