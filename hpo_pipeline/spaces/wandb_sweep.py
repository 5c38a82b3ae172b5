"""W&B's sweep files as experiment files of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.document import SCRIPT, Draft, experiment_name
from hpo_pipeline.spaces.strategies import carry_search, carry_stopping
from hpo_pipeline.spaces.wandb import from_wandb

_KNOWN = {
    **dict.fromkeys(
        (
            *("method", "metric", "parameters", "early_terminate", "run_cap", "program", "name"),
            *("description", "project", "entity"),
        ),
        "",
    ),
    "command": "trials are started by hpo; a script reads `hpo_pipeline.assignments()`",
}
_TRIALS = 20


def is_wandb(content: Mapping[str, Any]) -> bool:
    """Return whether a document is a sweep."""
    return "method" in content and isinstance(content.get("parameters"), Mapping)


def from_wandb_sweep(content: Mapping[str, Any], name: str) -> Draft:
    """Carry a sweep over."""
    draft = Draft("a sweep of W&B")
    draft.sections["name"] = experiment_name(content.get("name") or name)
    draft.lose_keys(content, _KNOWN, "")
    metric = content.get("metric") or {}
    draft.add_objective(metric.get("name"), metric.get("goal", "minimize"))
    draft.add_space(from_wandb(content["parameters"]))
    carry_search(draft, content["method"])
    if stop := content.get("early_terminate"):
        _carry_stop(draft, stop)
    budget: dict[str, Any] = {"trials": int(content.get("run_cap") or _TRIALS)}
    if not content.get("run_cap"):
        draft.notes.append(f"budget: the sweep had no run_cap; {_TRIALS} trials are written")
    if metric.get("target") is not None:
        budget["target"] = float(metric["target"])
    draft.sections["budget"] = budget
    draft.sections["task"] = {"kind": "custom", "script": str(content.get("program") or SCRIPT)}
    draft.notes.append(
        "task: the script reads `hpo_pipeline.assignments()` in place of wandb.config, and calls "
        "`hpo_pipeline.report` in place of wandb.log (docs/own-trainer.md)"
    )
    return draft


def _carry_stop(draft: Draft, stop: Mapping[str, Any]) -> None:
    factor = stop.get("eta")
    carry_stopping(
        draft,
        stop.get("type"),
        grace_period=stop.get("min_iter"),
        reduction_factor=int(factor) if factor else None,
        max_resource=stop.get("max_iter"),
    )
    others = sorted(set(stop) - {"type", "eta", "min_iter", "max_iter"})
    draft.lost += [f"early_terminate: {name} has no counterpart" for name in others]
