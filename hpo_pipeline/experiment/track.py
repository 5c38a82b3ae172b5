"""Where a run is shown besides: names only. Addresses and credentials come from the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from hpo_pipeline.experiment.space import as_tuple

TrackerName = Literal["mlflow", "tensorboard", "wandb"]


def _once(names: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
    if len(set(names)) != len(names):
        raise ValueError("must name each tracker once")
    return names


TrackSection = Annotated[tuple[TrackerName, ...], BeforeValidator(as_tuple), AfterValidator(_once)]
