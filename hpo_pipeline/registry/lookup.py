"""Which model folder a user means: a folder, a run folder, or a registered model by its name."""

from __future__ import annotations

from pathlib import Path

from hpo_pipeline.errors import DataError, RegistryError
from hpo_pipeline.registry import open_registry
from hpo_pipeline.registry.record import NAME

_CONFIG = "config.json"


def model_folder(named: str, scratch: Path, registry: str | None = None) -> Path:
    """Return the folder of a model.

    Args:
        named: a folder; or the name of a registered model, alone for its champion (or its latest
            version, where there is no champion yet), or as NAME@VERSION, NAME@champion.
        scratch: where a registry on a server puts the files.
        registry: its URI; None takes the usual one.

    Raises:
        DataError: it is neither.
        RegistryError: there is no such version, or its files cannot be had.
    """
    for folder in (Path(named), Path(named) / "model"):
        if (folder / _CONFIG).is_file():
            return folder
    name, _, version = named.partition("@")
    if Path(named).is_dir():
        raise DataError(
            f"{named}: has no {_CONFIG}, nor model/{_CONFIG}; name a folder of transformers, or a "
            f"run folder that has a winner"
        )
    if not NAME.fullmatch(name):
        raise DataError(
            f"{named!r} is no folder, and no name of a registered model such as reviews or "
            f"reviews@2; `hpo models` lists those"
        )
    found = open_registry(registry)
    known = found.names()
    if name not in known:
        listed = f"; there are {', '.join(known[:10])}" if known else ""
        raise RegistryError(
            f"{name}: is no folder and no registered model{listed}; `hpo models` lists them, and "
            f"--registry names another registry"
        )
    if version:
        record = found.get(name, int(version) if version.isdigit() else version)
    else:
        record = found.champion(name) or found.versions(name)[-1]
    return found.fetch(record, scratch / "model")
