"""Grid search over a space with conditions and wide ranges."""

from __future__ import annotations

import time

from hpo_pipeline.search.study import Study
from tests.toys import toy_experiment, toy_trial

WIDE = {"type": "int", "low": 0, "high": 10**9}


def test_each_point_comes_once_however_wide_a_range_that_never_counts() -> None:
    space = {
        "epochs": {"type": "int", "low": 1, "high": 2},
        "optim": {"type": "choice", "values": ["adamw", "sgd"]},
        "momentum": {"type": "int", "low": 1, "high": 3, "when": {"optim": "sgd"}},
        "warmup": {"type": "int", "low": 0, "high": 4, "when": {"momentum": 2}},
        "hops": {**WIDE, "when": {"optim": "adamw", "warmup": 1}},
    }
    made = toy_experiment(space=space, search={"algorithm": "grid"}, budget={"trials": 99})
    study, found = Study(made.problem), []
    while not study.is_exhausted():
        found.append(study.ask().assignments)
        study.tell(toy_trial(len(found) - 1, accuracy=0.5))
    # For each of two epochs: adamw, sgd with momentum 1 and 3, and five warm-ups with 2.
    assert len(found) == made.space.size() == 2 * (1 + 2 + 5)
    assert len({tuple(point.items()) for point in found}) == len(found)


def test_a_start_configuration_beside_a_wide_range_costs_nothing() -> None:
    begin = time.monotonic()
    made = toy_experiment(
        space={"seed_like": WIDE}, search={"algorithm": "random", "start": [{"seed_like": 7}]}
    )
    assert Study(made.problem).ask().assignments == {"seed_like": 7}
    assert time.monotonic() - begin < 5
