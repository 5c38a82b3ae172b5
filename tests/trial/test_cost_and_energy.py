"""The price and the energy of predictions: by their formula, and absent where nothing is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hpo_pipeline.experiment.prices import Prices
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.trial.measuring.energy import Meter, open_meter, unreadable
from hpo_pipeline.trial.measuring.practical_metrics import Finished, cost_per_million, energy_j
from hpo_pipeline.trial.measuring.purpose import Purpose
from tests.toys import toy_experiment


def timed(prices: Prices | None, times: list[float], **serve: object) -> Finished:
    """Return a model whose requests took so many milliseconds."""
    found = Finished(
        torch.nn.Linear(1, 1),
        rows=[{}],
        serve=Serve.model_validate({"threads": 2, **serve}),
        purpose=Purpose(frozenset({"cost_per_million"}), prices=prices),
    )
    found.__dict__["forward_ms"] = times
    return found


def test_a_million_rows_cost_their_time_at_the_price_of_their_threads() -> None:
    # 10 ms of two cores at 0.36 an hour each are 0.000002; half of that with two rows a request.
    prices = Prices(cpu_hour=0.36)
    found = cost_per_million(timed(prices, [8.0, 12.0] * 50))
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.high is not None
    assert found.low < 2.0 < found.high < 2.1
    both = cost_per_million(timed(prices, [10.0] * 50, batch=2))
    assert both is not None
    assert both.value == pytest.approx(1.0)


def test_an_instance_has_a_price_as_a_whole() -> None:
    node = {"node.kubernetes.io/instance-type": "m5.large"}
    prices = Prices(cpu_hour=9.0, instances={"m5.large": 3.6})
    found = cost_per_million(timed(prices, [10.0] * 50, node_selector=node))
    assert found is not None
    assert found.value == pytest.approx(10.0)


@pytest.mark.parametrize("prices", [None, Prices(gpu_hour=2.0)])
def test_without_a_price_there_is_no_cost(prices: Prices | None) -> None:
    assert cost_per_million(timed(prices, [10.0] * 50)) is None


def zone(folder: Path, place: str, name: str, joules: float) -> Path:
    made = folder / place
    made.mkdir()
    (made / "name").write_text(f"{name}\n")
    (made / "energy_uj").write_text(str(int(joules * 1e6)))
    (made / "max_energy_range_uj").write_text(str(int(100 * 1e6)))
    return made


def test_a_meter_adds_up_the_packages_and_minds_that_a_counter_starts_anew(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5.0)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 99.0)
    zone(tmp_path, "intel-rapl:0:0", "core", 1.0)  # a part of the first
    zone(tmp_path, "intel-rapl:2", "psys", 1.0)  # the whole machine
    meter = open_meter(torch.device("cpu"), tmp_path)
    assert meter is not None
    (first / "energy_uj").write_text("7500000")
    (second / "energy_uj").write_text("1000000")
    assert meter.joules() == pytest.approx(2.5 + 2.0)


def test_where_no_counter_can_be_read_there_is_no_number(tmp_path: Path) -> None:
    assert open_meter(torch.device("cpu"), tmp_path) is None
    assert "has no counter of a processor" in unreadable(tmp_path)
    made = zone(tmp_path, "intel-rapl:0", "package-0", 5.0)
    (made / "energy_uj").unlink()
    assert open_meter(torch.device("cpu"), tmp_path) is None
    assert "cannot be read by this user" in unreadable(tmp_path)
    assert energy_j(timed(None, [10.0])) is None


def test_the_energy_of_a_thousand_rows_counts_the_passes_of_the_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = [0]

    def forward(model: object, batch: object) -> None:
        passes[0] += 1

    meter = Meter(lambda: [float(passes[0])], [1e9])  # a joule a pass
    monkeypatch.setattr(
        "hpo_pipeline.trial.measuring.practical_metrics.open_meter", lambda device: meter
    )
    model = Finished(
        torch.nn.Linear(1, 1), [{"x": 1}], lambda rows: {}, forward=forward, serve=Serve(batch=4)
    )
    assert energy_j(model) == pytest.approx(250.0)


def test_what_this_machine_cannot_measure_is_refused_where_it_is_the_one_that_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hpo_pipeline.jobs import check

    monkeypatch.setattr(check, "open_meter", lambda device: None)
    monkeypatch.setattr(check, "device_here", lambda: torch.device("cpu"))
    constraints = ["energy_j <= 9", "cost_per_million <= 9"]
    read = dict(toy_experiment(constraints=constraints, prices={"gpu_hour": 2.0}))
    assert [fault.partition(": ")[0] for fault in check.device_faults(read)] == [
        "prices.cpu_hour",
        "constraints.0",
    ]
    there = dict(toy_experiment(constraints=constraints, cluster={"gpus": 1}))
    assert check.device_faults(there) == []
