"""The baseline of a run, with what the config of the base model has by default.

Only transformers knows that config. A run asks for it once, before its first trial, in a process
of its own, and only where the space varies the model; the values then stand in the experiment that
the engines and the pods of the trials read. `python -m hpo_pipeline.jobs defaults` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpo_pipeline.data.assets import ASSETS
from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.baseline import Baseline
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Space, Value, section
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.reports.formatting import assignments
from hpo_pipeline.results.files import read_json
from hpo_pipeline.tasks.inputs.base_config import CONFIG_FILE

TIMEOUT = 300.0
"""Seconds: transformers is imported, and the config may come from the hub."""


def resolved(experiment: Experiment) -> tuple[Experiment, Baseline]:
    """Return an experiment whose baseline is written out, and that baseline.

    What was written out before stays as it is.
    """
    found = experiment.found_baseline()
    names = _unknown(experiment)
    if names and (found.values is None or isinstance(experiment.baseline, dict)):
        found = experiment.found_baseline(_asked(experiment.task, names))
    given = "none" if found.values is None else found.values
    return experiment.model_copy(update={"baseline": given}), found


def baseline_line(experiment: Experiment) -> str:
    """Return the baseline in words, for a process that has loaded transformers already."""
    names = _unknown(experiment)
    found = experiment.found_baseline(config_defaults(experiment.task, names) if names else None)
    said = "none" if found.values is None else assignments(found.values)
    return f"baseline: {said}" + (f" ({'; '.join(found.notes)})" if found.notes else "")


def config_defaults(task: Task, names: Sequence[str]) -> dict[str, Value]:
    """Return what the config of the base model has for parameters such as `model.hidden_size`.

    Raises:
        DataError: there is no such model.
    """
    from hpo_pipeline.data.assets.source import model_source
    from hpo_pipeline.tasks.inputs.base_config import base_config

    config = base_config(task, model_source(task.model))
    fields = {name: name.rpartition(".")[2] for name in names}
    found = {name: getattr(config, field, None) for name, field in fields.items()}
    return {n: v for n, v in found.items() if isinstance(v, bool | int | float | str)}


def model_parameters(space: Space, given: object) -> list[str]:
    """Return the parameters whose defaults only the config of the model has."""
    known = given if isinstance(given, Mapping) else {}
    names = [f"model.{field}" for field in section({name: 0 for name in space}, "model")]
    names += ["task.vocab_size"] if "task.vocab_size" in space else []
    return [name for name in names if name not in known]


def main(argv: Sequence[str]) -> int:
    """Print the defaults of the parameters that the arguments name, as JSON.

    The experiment's task comes by standard input.
    """
    task = Task.model_validate_json(sys.stdin.read(), strict=False)
    try:
        print(json.dumps(config_defaults(task, argv)))
    except HpoError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _unknown(experiment: Experiment) -> list[str]:
    if experiment.baseline == "none":
        return []
    return model_parameters(experiment.space, experiment.baseline)


def _asked(task: Task, names: Sequence[str]) -> dict[str, Value]:
    """Return the defaults: from where numbers are at hand, or else as another process finds them.

    None of them where it cannot.
    """
    near = _at_hand(task, names)
    if len(near) == len(names):
        return near
    command = [sys.executable, "-P", "-m", "hpo_pipeline.jobs", "defaults", *names]
    text = task.model_dump_json()
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, timeout=TIMEOUT
        )
        found: dict[str, Value] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
    return found


def _at_hand(task: Task, names: Sequence[str]) -> dict[str, Value]:
    """Return what the catalogue, or the config.json of a folder, says by itself."""
    config: Mapping[str, object] = {}
    if (asset := ASSETS.get(task.model)) is not None:
        config = asset.config
    elif Path(task.model).is_absolute():
        try:
            config = read_json(Path(task.model) / CONFIG_FILE)
        except (OSError, HpoError):
            return {}
    fields = {name: config.get(name.rpartition(".")[2]) for name in names}
    return {n: v for n, v in fields.items() if isinstance(v, bool | int | float | str)}
