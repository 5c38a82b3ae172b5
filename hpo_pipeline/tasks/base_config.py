"""The config of the base model that `task.model` names: a folder, a hub id, or an architecture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import TaskFields

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def base_config(task: TaskFields, source: str) -> PretrainedConfig:
    """Return the config of the base model.

    Args:
        source: a folder, a hub id or the name of an architecture.

    Raises:
        DataError: there is no such model, or an architecture has no weights to start from.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if source in CONFIG_MAPPING_NAMES and not Path(source).is_dir():
        if not task.from_scratch:
            raise DataError(
                f"task.model: {source} is an architecture without weights; "
                f"set from_scratch: true, or name a pretrained model"
            )
        return AutoConfig.for_model(source)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            source, trust_remote_code=task.trust_remote_code
        )
    # A config.json that others wrote makes transformers raise whatever its values lead to:
    # TypeError, AttributeError, RecursionError, errors of its own.
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"task.model: {source!r} cannot be loaded: {first}") from error
    return config
