"""Where a model name leads: an asset, a folder, or the hub."""

from __future__ import annotations

from pathlib import Path

from hpo_pipeline.data import assets
from hpo_pipeline.errors import DataError


def model_source(name: str) -> str:
    """Return what transformers loads a model from: a folder, or the name as it is.

    Raises:
        DataError: the name is an asset that is not a model or cannot be fetched.
    """
    if name not in assets.ASSETS:
        if Path(name).is_absolute() and not Path(name).is_dir():
            raise DataError(f"task.model: there is no directory {name}")
        return name
    if assets.ASSETS[name].kind != "model":
        raise DataError(f"task.model: {name} is data, not a model")
    return str(assets.fetch(name))
