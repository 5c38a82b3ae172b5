"""The jobs of a run, as callers build them; importing this loads neither torch nor datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from hpo_pipeline.experiment.space import Value, render
from hpo_pipeline.results.job import Job
from hpo_pipeline.results.outcome import SearchFacts, Selected

GATE, REGISTER = "gate", "register"


def prepare_job() -> Job:
    """Return the job that prepares the data, once for all who ask."""
    return Job("prepare", "prepare", ("--shared",))


def train_job(name: str, *, number: int, seed: int, assignments: Mapping[str, Value]) -> Job:
    """Return the training of a configuration with a seed of its own."""
    pairs = [part for n, v in assignments.items() for part in ("--set", f"{n}={render(v)}")]
    known = ("--name", name, "--number", str(number), "--seed", str(seed))
    return Job("train", name, (*known, *pairs))


def promote_job(stage: str, selected: Selected, facts: SearchFacts) -> Job:
    """Return one stage of the promotion, GATE or REGISTER."""
    known = {"selected": asdict(selected), "facts": facts.to_json()}
    return Job("promote", stage, (stage, "--known", json.dumps(known, sort_keys=True)))
