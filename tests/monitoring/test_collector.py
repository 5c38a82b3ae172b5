"""The exposition: names, bounds, HTTP, the textfile, and the metrics of a run on this machine."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hpo_pipeline.errors import MonitoringError
from hpo_pipeline.monitoring.collector import MAX_EXPERIMENTS, Reading, registry_of
from hpo_pipeline.monitoring.failure_kinds import failure_kind
from hpo_pipeline.monitoring.families import FAMILIES, Type, markdown_table
from hpo_pipeline.monitoring.metered_progress import MeteredProgress
from hpo_pipeline.monitoring.serving import metrics_server, write_textfile
from hpo_pipeline.monitoring.snapshot import ExperimentFacts, TrialFacts, measure
from hpo_pipeline.reports.terminal.silence import Silence
from hpo_pipeline.results.trial import Trial, TrialState
from tests.toys import toy_curve, toy_experiment, toy_trial


def reading(*facts: ExperimentFacts) -> Reading:
    return Reading([measure(found, [TrialFacts(TrialState.RUNNING)]) for found in facts])


def test_names_follow_the_conventions():
    for family in FAMILIES.values():
        assert re.fullmatch(r"hpo_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.type is Type.COUNTER)
        assert family.help.endswith(".")
        assert not re.search(r"_(ms|minutes|hours|mb|percent)$", family.name)


def test_every_family_is_exported_with_its_help():
    text = generate_latest(registry_of(Reading)).decode()
    for family in FAMILIES.values():
        assert f"# HELP {family.name} {family.help}" in text
        assert f"# TYPE {family.name} {family.type.value}" in text


def test_the_documentation_lists_all_metrics():
    page = Path(__file__).parents[2] / "docs/monitoring.md"
    assert markdown_table() in page.read_text("utf-8"), "paste families.markdown_table() there"


def test_series_are_bounded():
    many = {f"m{i:03d}": float(i) for i in range(100)}
    facts = ExperimentFacts("toy", "running", objectives=("m099",), best=many)
    rest = [ExperimentFacts(f"old-{i}", "failed") for i in range(MAX_EXPERIMENTS)]
    registry = registry_of(lambda: reading(*rest, facts))
    found = {m.name: m.samples for m in registry.collect()}
    shown = [s.labels["metric"] for s in found["hpo_experiment_best_metric"]]
    assert len(shown) == 20
    assert shown[0] == "m099"
    assert len(found["hpo_experiment_running"]) == MAX_EXPERIMENTS
    assert registry.get_sample_value("hpo_experiments_omitted") == 1


def test_hostile_names_stay_in_their_label():
    name = 'x"} 1\nhpo_experiments{state="running"} 99\\'
    text = generate_latest(registry_of(lambda: reading(ExperimentFacts(name, "running"))))
    found = {f.name: f.samples for f in text_string_to_metric_families(text.decode())}
    assert found["hpo_experiment_running"][0].labels["experiment"] == name
    assert [s.value for s in found["hpo_experiments"] if s.labels["state"] == "running"] == [1]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("it was killed for lack of memory; the limit is 1Gi", "out_of_memory"),
        ("CUDA out of memory. Tried to allocate 2 GiB", "out_of_memory"),
        ("it was preempted by a pod of a higher priority", "evicted"),
        ("it reported no finite f1", "no_metrics"),
        ("it ended with exit code 3: x", "exit_code"),
        ("ValueError: no such column", "other"),
    ],
)
def test_reasons_become_few_kinds(reason, kind):
    assert failure_kind(reason) == kind


@pytest.fixture
def metered():
    experiment = toy_experiment(constraints=["latency_p95_ms <= 15"])
    progress = MeteredProgress(Silence(), experiment, "toy")
    progress.started(4, 1)
    running = Trial("toy-2", 2, TrialState.RUNNING, {}, curve=toy_curve(0.5))
    trials = [toy_trial(0, accuracy=0.7, latency_p95_ms=9.0), running]
    trials.insert(1, toy_trial(1, accuracy=0.9, latency_p95_ms=30.0))
    progress.update(trials, seconds=60.0)
    return progress


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("hpo_experiment_best_objective", {"objective": "accuracy"}, 0.7),  # within constraints
        ("hpo_experiment_trials", {"state": "running"}, 1),
        ("hpo_experiment_trials_per_hour", {}, 120),
        ("hpo_experiment_progress_ratio", {}, (2 + 1 / 3) / 4),  # one epoch of three is done
        ("hpo_trial_gpu_seconds_total", {"state": "succeeded"}, None),  # not known, so absent
        ("hpo_saved_gpu_seconds", {}, None),
    ],
)
def test_a_run_on_this_machine(metered, name, labels, value):
    labels = {"namespace": "", "experiment": "toy", **labels}
    assert registry_of(metered).get_sample_value(name, labels) == pytest.approx(value)


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_server(metered):
    ready = [False]
    with metrics_server(registry_of(metered), port=0, is_ready=lambda: ready[0]) as port:
        assert "hpo_experiment_running{" in get(port, "/metrics")[1]
        assert get(port, "/healthz")[0] == 200
        assert get(port, "/readyz")[0] == 503
        ready[0] = True
        assert get(port, "/readyz")[0] == 200
        assert get(port, "/../etc/passwd")[0] == 404


def test_a_port_in_use_is_a_clear_error(metered):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(MonitoringError, match=r"in use.*choose another port"),
            metrics_server(registry_of(metered), port=port),
        ):
            pass


def test_the_textfile(metered, tmp_path):
    file = tmp_path / "hpo.prom"
    metered.ended("succeeded")
    write_textfile(registry_of(metered), file)
    assert 'hpo_experiments{state="succeeded"} 1.0' in file.read_text()
    with pytest.raises(MonitoringError, match="--metrics-file"):
        write_textfile(registry_of(metered), tmp_path / "missing" / "hpo.prom")
    assert [p.name for p in tmp_path.iterdir()] == ["hpo.prom"]
