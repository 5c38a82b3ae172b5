"""The command lines of jobs, for whoever starts them; importing this loads no torch."""

from __future__ import annotations

from pathlib import Path


def evaluation_argv(
    experiment: Path, dataset: Path, model: Path, max_length: int, out: Path
) -> list[str]:
    """Return the arguments of `python -m hpo_pipeline.trial.evaluate`, for every site."""
    argv = ["--experiment", str(experiment), "--dataset", str(dataset), "--model", str(model)]
    return [*argv, "--max-length", str(max_length), "--out", str(out)]
