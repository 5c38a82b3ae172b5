"""What a stopping rule counts: how much of it a trial has used at an evaluation."""

from __future__ import annotations

import math

from hpo_pipeline.experiment.stopping import Stopping
from hpo_pipeline.results.trial import Point


def used(rule: Stopping, point: Point) -> int:
    """Return how much of the resource a trial has used at a point.

    In epochs, the first evaluation at or past the end of an epoch stands for it; before the first,
    none does. In rows, each training on a share of them is one evaluation; those of the training
    on all rows count on from all parts, where no trial is judged.
    """
    if parts := rule.row_parts:
        behind = point.step - len(parts) - 1
        return parts[point.step - 1] if behind < 0 else rule.all_parts + behind
    if getattr(rule, "resource", "evaluation") == "epoch":
        return math.floor(point.epoch + 1e-6)
    return point.step
