"""The alert rules of Prometheus: one row each, written to manifests/monitoring by `__main__`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Alert:
    """One rule; `hold` is how long its condition must last."""

    name: str
    expr: str
    hold: str
    summary: str
    advice: str
    severity: str = "warning"


# Runs of a machine have no namespace.
_IDENTITY = "{{ with $labels.namespace }}{{ . }}/{{ end }}{{ $labels.experiment }}"
_ENDED = 'state=~"succeeded|stopped|failed"'
ALERTS = (
    Alert(
        "HpoExperimentStalled",
        "time() - hpo_experiment_last_progress_timestamp_seconds > 7200"
        " and on (namespace, experiment) hpo_experiment_running == 1",
        "10m",
        f"{_IDENTITY}: no trial has started, reported or ended for two hours",
        "Look at its pods: `kubectl get pods`, `hpo status NAME --engine katib`.",
    ),
    Alert(
        "HpoTooManyFailures",
        'sum by (namespace, experiment) (hpo_experiment_trials{state="failed"})'
        f" / sum by (namespace, experiment) (hpo_experiment_trials{{{_ENDED}}}) > 0.5"
        f" and sum by (namespace, experiment) (hpo_experiment_trials{{{_ENDED}}}) >= 4"
        " and on (namespace, experiment) hpo_experiment_running == 1",
        "5m",
        f"{_IDENTITY}: more than half of its trials have failed",
        "hpo_trial_failures_total says why by kind; `hpo show TRIAL` says it in words.",
    ),
    Alert(
        "HpoGpuWaste",
        'sum by (namespace, experiment) (hpo_trial_gpu_seconds_total{state="failed"})'
        " / sum by (namespace, experiment) (hpo_trial_gpu_seconds_total) > 0.3"
        ' and sum by (namespace, experiment) (hpo_trial_gpu_seconds_total{state="failed"}) > 3600',
        "5m",
        f"{_IDENTITY}: failed trials used over an hour of GPU, and 30 % of all",
        "Lower budget.max_failed, or narrow the space to configurations that fit the GPU.",
    ),
    Alert(
        "HpoChampionTooOld",
        "time() - hpo_champion_created_timestamp_seconds > 30 * 86400",
        "1h",
        "{{ $labels.model }}: its champion is older than 30 days",
        "`hpo models history NAME` says why later versions were not promoted.",
    ),
    Alert(
        "HpoRetrainingMissed",
        "hpo_schedule_missed_runs > 0",
        "5m",
        "{{ $labels.schedule }}: {{ $value }} starts of its retraining brought no run",
        "`hpo schedule list` shows if it is on; look at the pod ml-pipeline-scheduledworkflow.",
        severity="critical",
    ),
    Alert(
        "HpoNoNewVersion",
        "time() - hpo_model_last_registered_timestamp_seconds > 8 * 86400",
        "1h",
        "{{ $labels.model }}: no version was registered for 8 days",
        "Look at the last runs of its retraining; set the days to your own schedule.",
    ),
    Alert(
        "HpoExporterBlind",
        "hpo_source_up == 0",
        "10m",
        "the exporter cannot read {{ $labels.source }}",
        "Its log says why: `kubectl logs deployment/hpo-exporter`.",
        severity="critical",
    ),
)


def rules() -> dict[str, Any]:
    """Return a rule file of Prometheus."""
    return {"groups": [{"name": "hpo-pipeline", "rules": [_rule(alert) for alert in ALERTS]}]}


def prometheus_rule() -> dict[str, Any]:
    """Return the same as an object of the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hpo-pipeline"},
        "spec": rules(),
    }


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.hold,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.advice},
    }
