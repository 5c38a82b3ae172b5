"""What is our own in the samplers: the bounded Gaussian process."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_pipeline.search.gaussian_process import BoundedGPSampler
from hpo_pipeline.search.parzen import thinned

pytest.importorskip("torch")
SPACE = {"x": FloatDistribution(0.0, 1.0)}


def trial(x: float, state: TrialState) -> FrozenTrial:
    """One whose value is the higher the nearer it is to 0.7."""
    value = 1 - abs(x - 0.7)
    return create_trial(
        state=state,
        params={"x": x},
        distributions=SPACE,
        value=value if state == TrialState.COMPLETE else None,
        intermediate_values={1: value / 2, 2: value},
    )


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_gp_fits_on_a_bounded_number_of_trials(state: TrialState) -> None:
    study = optuna.create_study(
        direction="maximize", sampler=BoundedGPSampler(max_fitted=20, seed=0, n_startup_trials=5)
    )
    study.add_trials([trial(n / 50, TrialState.COMPLETE) for n in range(33)])
    study.add_trials([trial(n / 50, state) for n in range(39, 51)])
    proposed = [study.ask(SPACE).params["x"] for _ in range(3)]  # the three run side by side
    assert 0.64 < proposed[0] < 0.78, "the gap that the known trials leave around the best"
    assert len({round(x, 3) for x in proposed}) == 3, "running trials are passed over"
    assert len(study.get_trials()) == 48


def test_gp_learns_from_stopped_trials() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=BoundedGPSampler(max_fitted=100, seed=0, n_startup_trials=5)
    )
    study.add_trials([trial(x, TrialState.COMPLETE) for x in (0.0, 0.02, 0.04, 0.06, 0.08)])
    study.add_trials([trial(x, TrialState.PRUNED) for x in (0.3, 0.65, 0.75, 0.9, 1.0)])
    assert study.ask(SPACE).params["x"] == pytest.approx(0.7, abs=0.06)


def test_of_many_bad_trials_tpe_takes_a_sample_of_all_ages_and_the_newest() -> None:
    found: Any = thinned(list(range(10_000)))
    assert len(found) == 498 + 50
    assert found[:2] == [0, 20]
    assert found[-50:] == list(range(9_950, 10_000))
    few: Any = list(range(400))
    assert thinned(few) == few
