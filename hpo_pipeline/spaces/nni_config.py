"""NNI's experiment configs, of version 2 and 1, as experiment files of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hpo_pipeline.errors import DataError
from hpo_pipeline.spaces.document import SCRIPT, Draft, experiment_name
from hpo_pipeline.spaces.nni import from_nni
from hpo_pipeline.spaces.strategies import carry_search, carry_stopping

_TRIALS = ("maxTrialNumber", "max_trial_number", "maxTrialNum")
_AT_ONCE = ("trialConcurrency", "trial_concurrency")
_DURATION = ("maxExperimentDuration", "max_experiment_duration", "maxExecDuration")
_SPACE_FILE = ("searchSpaceFile", "search_space_file", "searchSpacePath")
_SPACE = ("searchSpace", "search_space")
_NAME = ("experimentName", "experiment_name", "name")
_COMMAND = ("trialCommand", "trial_command")
_KNOWN = (
    *(*_TRIALS, *_AT_ONCE, *_DURATION, *_SPACE_FILE, *_SPACE, *_NAME, *_COMMAND),
    *("trial", "tuner", "assessor", "advisor", "authorName", "useAnnotation", "debug", "logLevel"),
    *("trialCodeDirectory", "trial_code_directory", "description"),
)
_PLACES = ("trainingService", "training_service", "trainingServicePlatform")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def is_nni(content: Mapping[str, Any]) -> bool:
    """Return whether a document is a config of NNI, or a search space of it."""
    return _is_space(content) or any(key in content for key in (*_SPACE, *_SPACE_FILE, "tuner"))


def _is_space(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(isinstance(v, Mapping) and "_type" in v for v in content.values())


def from_nni_config(content: Mapping[str, Any], folder: Path, name: str) -> Draft:
    """Carry a config of NNI over, or a search space alone.

    Args:
        folder: of the file, from where that of the search space is named.

    Raises:
        DataError: the search space cannot be read.
    """
    draft = Draft("a config of NNI")
    draft.sections["name"] = experiment_name(_first(content, _NAME) or name)
    if _is_space(content):
        content = {"searchSpace": content}
        draft.lost.append("a search space alone has no metric, tuner and budget: write them")
    known = {**dict.fromkeys(_KNOWN, ""), **dict.fromkeys(_PLACES, "name it with --engine")}
    draft.lose_keys(content, known, "")
    draft.add_space(from_nni(_search_space(content, folder)))
    tuner = content.get("tuner") or content.get("advisor") or {}
    arguments = tuner.get("classArgs") or tuner.get("class_args") or {}
    draft.add_objective("default", arguments.get("optimize_mode", "maximize"))
    draft.notes.append("objective: NNI's only metric is called default; report it by that name")
    carry_search(draft, tuner.get("name") or tuner.get("builtinTunerName") or "TPE")
    if others := sorted(set(arguments) - {"optimize_mode"}):
        draft.lost.append(f"tuner: {', '.join(others)} are other settings here: see search")
    if assessor := content.get("assessor"):
        start = (assessor.get("classArgs") or {}).get("start_step")
        named = assessor.get("name") or assessor.get("builtinAssessorName")
        carry_stopping(draft, named, start_step=start or None)
    draft.sections["budget"] = _budget(content)
    command = _first(content, _COMMAND) or (content.get("trial") or {}).get("command", "")
    found = re.findall(r"[\w./-]+\.py", str(command))
    draft.sections["task"] = {"kind": "custom", "script": found[0] if found else SCRIPT}
    draft.notes.append(
        "task: the script reads `hpo_pipeline.assignments()` in place of nni.get_next_parameter(), "
        "and calls `hpo_pipeline.report` in place of nni.report_… (docs/own-trainer.md)"
    )
    return draft


def _search_space(content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    space = _first(content, _SPACE)
    if isinstance(space, Mapping):
        return space
    file = folder / str(_first(content, _SPACE_FILE) or "search_space.json")
    try:
        text = file.read_text("utf-8")
        found = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file}: the search space cannot be read: {error}") from error
    if not isinstance(found, Mapping):
        raise DataError(f"{file}: must be a mapping of parameters")
    return found


def _budget(content: Mapping[str, Any]) -> dict[str, Any]:
    budget: dict[str, Any] = {"trials": int(_first(content, _TRIALS) or 100)}
    budget["parallel"] = int(_first(content, _AT_ONCE) or 1)
    text = str(_first(content, _DURATION) or "")
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text):
        budget["minutes"] = float(found[1]) * _SECONDS[found[2] or "s"] / 60
    return budget


def _first(content: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)
