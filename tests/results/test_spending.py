"""What a search has cost: time on its device at its price, and what stopping saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.reports.markdown import figures
from hpo_pipeline.reports.worth import worth
from hpo_pipeline.results.bootstrap import Gain
from hpo_pipeline.results.outcome import SearchResult, Winner
from hpo_pipeline.results.spending import seconds_saved, seconds_used, spending
from hpo_pipeline.results.trial import TrialState
from tests.toys import faults_of, toy_curve, toy_experiment, toy_trial

PRICES = {"cpu_hour": 0.5, "gpu_hour": 2.0, "currency": "EUR"}
CPU = {"device": "CPU", "threads": "2"}
DONE = replace(
    toy_trial(0, curve=toy_curve(0.1, 0.2, 0.3, 0.4)), seconds={"train": 3600.0}, environment=CPU
)
STOPPED = replace(
    toy_trial(1, state=TrialState.STOPPED, curve=toy_curve(0.1)),
    seconds={"train": 900.0},
    environment={"device": "NVIDIA H100", "threads": "1"},
)


def test_trials_cost_their_hours_and_stopped_ones_save_the_rest_of_theirs() -> None:
    found = spending(toy_experiment(prices=PRICES), [DONE, STOPPED])
    assert found is not None
    # An hour of two cores, a quarter of an hour of a GPU; three quarters more of it are saved.
    assert (found.spent, found.saved) == pytest.approx((1.0 + 0.5, 1.5))
    unknown = spending(toy_experiment(prices={"cpu_hour": 0.5}), [DONE, STOPPED])
    assert unknown is not None
    assert (unknown.spent, unknown.unknown) == (1.0, 1)
    assert spending(toy_experiment(), [DONE]) is None


def test_the_seconds_that_stopping_saved() -> None:
    assert seconds_used([DONE, STOPPED]) == 4500
    assert seconds_saved(toy_experiment(), [DONE, STOPPED]) == 2700


def test_a_training_on_a_share_of_the_rows_is_that_share_of_one() -> None:
    """A whole trial trains on 1/9, 1/3 and all rows; two evaluations of the four are on all."""
    experiment = toy_experiment(stopping={"algorithm": "asha", "resource": "rows"})
    assert seconds_saved(experiment, [DONE, STOPPED]) == pytest.approx(900 * (1 / 3 + 1) * 9)
    second = replace(STOPPED, curve=toy_curve(0.1, 0.2))
    assert seconds_saved(experiment, [DONE, second]) == pytest.approx(900 / (1 / 9 + 1 / 3))


def test_the_first_line_and_the_numbers_of_a_pipeline_have_the_cost() -> None:
    experiment = toy_experiment(prices=PRICES, baseline={"learning_rate": 5e-5})
    result = SearchResult(
        "toy", "succeeded", 9.0, (DONE, STOPPED), Winner("toy-1", {}, {}), baseline="toy-0",
        gain=Gain(0.8, 0.7, 0.1, 0.05, 0.15, 100),
    )  # fmt: skip
    said = worth(experiment, result) or ""
    assert "1 more trial, 15 min 00 s of training and measuring, 0.5000 EUR" in said
    numbers = figures(experiment, result)
    assert (numbers["search_cost"], numbers["search_cost_saved"]) == pytest.approx((1.5, 1.5))


NODE = "node_selector: {node.kubernetes.io/instance-type: m5.large}"


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"prices": "{cpu_hour: -1}"}, "prices.cpu_hour: input should be greater than or equal"),
        ({"prices": "{currency: EUR}"}, "prices: must have cpu_hour, gpu_hour or instances"),
        ({"constraints": '["cost_per_million <= 2"]'}, "constraints.0: cost_per_million needs pri"),
        (
            {"prices": "{instances: {c5.large: 1}}", "serve": f"{{{NODE}}}"},
            "prices.instances: has no entry for m5.large, which serve.node_selector names; there "
            "are c5.large",
        ),
        (
            {
                "prices": "{cpu_hour: 1}",
                "cluster": "{gpus: 1}",
                "objective": '{score: "accuracy - cost_per_million", goal: maximize}',
            },
            "prices.gpu_hour: is missing, for cost_per_million where cluster.gpus is 1",
        ),
        (
            {"prices": "{instances: {a: 1}}", "constraints": '["cost_per_million <= 2"]'},
            "prices.cpu_hour: is missing, for cost_per_million (constraints.0)",
        ),
    ],
)
def test_prices_that_are_wrong_or_missing_are_named(
    tmp_path: Path, sections: dict[str, str], fault: str
) -> None:
    assert [found for found in faults_of(tmp_path, **sections) if found.startswith(fault)]
