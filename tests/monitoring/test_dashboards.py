"""Dashboards and alerts: what they name exists, and promtool says that each alert fires."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from hpo_pipeline.monitoring.__main__ import files
from hpo_pipeline.monitoring.alerts import ALERTS
from hpo_pipeline.monitoring.collector import Reading, registry_of
from hpo_pipeline.monitoring.dashboards import DASHBOARDS, expressions, render
from hpo_pipeline.monitoring.families import FAMILIES
from hpo_pipeline.monitoring.serving import metrics_server

FOLDER = Path(__file__).parents[2] / "manifests/monitoring"
QUERIES = [alert.expr for alert in ALERTS] + [e for d in DASHBOARDS for e in expressions(d)]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="needs promtool: apt install prometheus"
)


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The names that a query can use on a running exporter."""
    with (
        metrics_server(registry_of(Reading), port=0) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer,
    ):
        text = answer.read().decode()
    found = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    return {name for family in found for name in FAMILIES[family].sample_names}


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_of_a_query_is_exported(query, exported):
    assert set(re.findall(r"\bhpo_\w+", query)) <= exported


@pytest.mark.parametrize("query", QUERIES)
def test_every_label_of_a_query_exists(query):
    names = set(re.findall(r"\bhpo_\w+", query))
    known = {n for f in FAMILIES.values() if names & {*f.sample_names} for n in f.labels}
    grouped = [
        n.strip() for part in re.findall(r"(?:by|on) \(([^)]*)\)", query) for n in part.split(",")
    ]
    matched = re.findall(r"(\w+)=~?[\"']", query)
    assert {*grouped, *matched} <= known | {"le"}


def test_the_files_are_up_to_date():
    for name, text in files().items():
        assert (FOLDER / name).read_text("utf-8") == text, "run python -m hpo_pipeline.monitoring"


def test_panels_do_not_overlap():
    for dashboard in DASHBOARDS:
        cells = [
            (x, y)
            for panel in render(dashboard)["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


@needs_promtool
def test_each_alert_fires_when_it_should():
    tests = Path(__file__).with_name("alerts.yaml")
    done = subprocess.run([PROMTOOL, "test", "rules", tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r"alertname: (\w+)", tests.read_text("utf-8")))
    assert tested == {alert.name for alert in ALERTS}


@needs_promtool
def test_the_exposition_is_as_prometheus_wants_it():
    from prometheus_client import generate_latest

    text = generate_latest(registry_of(Reading)).decode()
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
