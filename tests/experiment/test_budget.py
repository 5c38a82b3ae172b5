"""When a search ends before its last trial."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_pipeline.experiment.schema import Budget

FAILED = "4 trials failed, and budget.max_failed allows 3"


@pytest.mark.parametrize(
    ("limits", "state", "reason"),
    [
        ({}, {"failed": 3, "seconds": 1e9, "best": 1.0}, None),
        ({}, {"failed": 4}, FAILED),
        ({"minutes": 2}, {"seconds": 120.0}, None),
        ({"minutes": 2}, {"seconds": 120.1}, "the 2 minutes are over"),
        ({"target": 0.9}, {"best": 0.89}, None),
        ({"target": 0.9}, {"best": None}, None),
        ({"target": 0.9}, {"best": 0.9}, "the target 0.9 is reached"),
        ({"target": 0.2}, {"best": 0.3, "goal": "minimize"}, None),
        ({"target": 0.2}, {"best": 0.1, "goal": "minimize"}, "the target 0.2 is reached"),
        ({"target": 0.9}, {"best": 0.9, "failed": 4}, "the target 0.9 is reached"),
    ],
)
def test_a_budget_says_why_a_search_is_over(
    limits: dict[str, Any], state: dict[str, Any], reason: str | None
) -> None:
    assert Budget(trials=10, **limits).ended(**state) == reason
