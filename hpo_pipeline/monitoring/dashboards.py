"""The dashboards of Grafana, made from a table of panels; `__main__` writes their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 24, 8
"""Columns of Grafana's grid, and rows of a panel."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """One panel: a query for each legend. Units are Grafana's; `kind` is its type of panel."""

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12


@dataclass(frozen=True)
class Dashboard:
    """A page of panels; `picks` are the labels that its reader chooses from, with a metric each."""

    uid: str
    title: str
    picks: tuple[tuple[str, str], ...]
    panels: tuple[Panel, ...]


_ONE = 'namespace=~"$namespace", experiment=~"$experiment"'
_ALL = 'namespace=~"$namespace"'
EXPERIMENTS = Dashboard(
    "hpo-experiments",
    "HPO: experiments",
    (("namespace", "hpo_experiment_running"), ("experiment", "hpo_experiment_running")),
    (
        Panel("Running", (("sum(hpo_experiments{state='running'})", ""),), "stat", width=4),
        Panel(
            "Progress",
            ((f"hpo_experiment_progress_ratio{{{_ONE}}}", "{{experiment}}"),),
            "bargauge",
            "percentunit",
            width=10,
        ),
        Panel(
            "Best objective",
            ((f"hpo_experiment_best_objective{{{_ONE}}}", "{{experiment}} {{objective}}"),),
            width=10,
        ),
        Panel(
            "Trials by state",
            ((f"sum by (state) (hpo_experiment_trials{{{_ONE}}})", "{{state}}"),),
        ),
        Panel(
            "Metrics of the best trial",
            ((f"hpo_experiment_best_metric{{{_ONE}}}", "{{experiment}} {{metric}}"),),
        ),
        Panel(
            "Trials an hour",
            ((f"hpo_experiment_trials_per_hour{{{_ONE}}}", "{{experiment}}"),),
        ),
        Panel(
            "Failures by reason",
            ((f"sum by (reason) (hpo_trial_failures_total{{{_ONE}}})", "{{reason}}"),),
        ),
        Panel(
            "How long trials take",
            tuple(
                (
                    f"histogram_quantile({q}, sum by (le) "
                    f"(hpo_trial_duration_seconds_bucket{{{_ONE}}}))",
                    f"{q:.0%}",
                )
                for q in (0.5, 0.95)
            ),
            unit="s",
        ),
        Panel(
            "How long trials wait for a node",
            tuple(
                (
                    f"histogram_quantile({q}, sum by (le) "
                    f"(hpo_trial_queue_seconds_bucket{{{_ONE}}}))",
                    f"{q:.0%}",
                )
                for q in (0.5, 0.95)
            ),
            unit="s",
        ),
        Panel(
            "From start to the first trial",
            ((f"hpo_experiment_first_trial_seconds{{{_ONE}}}", "{{experiment}}"),),
            unit="s",
        ),
        Panel(
            "Since the last progress",
            (
                (
                    f"time() - hpo_experiment_last_progress_timestamp_seconds{{{_ONE}}}"
                    f" and hpo_experiment_running{{{_ONE}}} == 1",
                    "{{experiment}}",
                ),
            ),
            unit="s",
        ),
    ),
)
RESOURCES = Dashboard(
    "hpo-resources",
    "HPO: resources and models",
    (("namespace", "hpo_experiment_running"), ("model", "hpo_model_versions")),
    (
        Panel(
            "GPU-seconds by outcome",
            ((f"sum by (state) (hpo_trial_gpu_seconds_total{{{_ALL}}})", "{{state}}"),),
            unit="s",
        ),
        Panel(
            "CPU-seconds by outcome",
            ((f"sum by (state) (hpo_trial_cpu_seconds_total{{{_ALL}}})", "{{state}}"),),
            unit="s",
        ),
        Panel(
            "Saved by stopping (estimate)",
            (
                (f"sum(hpo_saved_gpu_seconds{{{_ALL}}})", "GPU"),
                (f"sum(hpo_saved_cpu_seconds{{{_ALL}}})", "CPU"),
            ),
            unit="s",
        ),
        Panel(
            "GPU-seconds of failed trials, part of all",
            (
                (
                    f'sum(hpo_trial_gpu_seconds_total{{{_ALL}, state="failed"}})'
                    f" / sum(hpo_trial_gpu_seconds_total{{{_ALL}}})",
                    "",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Age of the champion",
            (
                (
                    'time() - hpo_champion_created_timestamp_seconds{model=~"$model"}',
                    "{{model}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Metrics of the champion",
            (('hpo_champion_metric{model=~"$model"}', "{{model}} {{metric}}"),),
        ),
        Panel(
            "Starts of schedules that brought no run",
            (("hpo_schedule_missed_runs", "{{schedule}}"),),
        ),
        Panel("Versions", (('hpo_model_versions{model=~"$model"}', "{{model}}"),)),
        Panel(
            "What the exporter can read",
            (("hpo_source_up", "{{source}}"), ("hpo_experiments_omitted", "left out")),
        ),
    ),
)
DASHBOARDS = (EXPERIMENTS, RESOURCES)


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Return the JSON of a dashboard, which any Grafana since version 9 imports."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["hpo-pipeline"],
        "schemaVersion": 38,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_datasource(), *(_pick(*pick) for pick in dashboard.picks)]},
        "panels": _placed(dashboard.panels),
    }


def expressions(dashboard: Dashboard) -> list[str]:
    """Return all queries of a dashboard."""
    return [expr for panel in dashboard.panels for expr, _ in panel.queries]


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return the panels from left to right, a new row where one is full."""
    found, x, y = [], 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        found.append(_panel(number, panel, place))
        x += panel.width
    return found


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
        for i, (expr, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": targets,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus"}


def _pick(label: str, metric: str) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({metric}, {label})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
