"""The names that manifests, services, trials and engine must agree on."""

from __future__ import annotations

import re

PREFIX = "hpo-"
"""Before the name of each of our algorithms and stopping rules in Katib."""

SUGGESTION_PORT = 6789
STOPPING_PORT = 6788
DATABASE_PORT = 6789

EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
INJECTION_LABEL = "katib.kubeflow.org/metrics-collector-injection"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
JOB_LABEL = "batch.kubernetes.io/job-name"

IDENTITY_ANNOTATION = "hpo-pipeline/identity"
"""A hash of what a manifest was rendered from, to tell whether it is the same experiment."""
STOP_ANNOTATION = "hpo-pipeline/stop"
"""Put on a running experiment: its trials end early, and it ends when they have."""

MINUTES_ANNOTATION = "hpo-pipeline/minutes"
"""The time budget, for the stopping service."""

SERVICES_ACCOUNT = "hpo-services"
TRIAL_CONTAINER = "trial"
PARENT = "parent"
"""The parameter with the name of the trial from whose checkpoint a trial goes on, or `none`."""
NO_PARENT = "none"

EPOCH = "epoch"
TRAINING_STEP = "training_step"
"""Reported beside the metrics of an evaluation, but not with those of the result."""

_NUMBER = re.compile(r"-(\d{4,})")


def trial_number(name: str) -> int | None:
    """Return the number at the end of the name of a trial, which stock algorithms do not give."""
    found = re.search(_NUMBER.pattern + "$", name)
    return int(found[1]) if found else None


def database_address(katib_namespace: str) -> str:
    """Return where Katib's database takes reports."""
    return f"katib-db-manager.{katib_namespace}:{DATABASE_PORT}"
