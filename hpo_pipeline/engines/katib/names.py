"""The names that manifests, services, trials and engine must agree on."""

from __future__ import annotations

PREFIX = "hpo-"
"""Before the name of each of our algorithms and stopping rules in Katib."""

SUGGESTION_PORT = 6789
STOPPING_PORT = 6788
DATABASE_PORT = 6789

EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
INJECTION_LABEL = "katib.kubeflow.org/metrics-collector-injection"

IDENTITY_ANNOTATION = "hpo-pipeline/identity"
"""A hash of what a manifest was rendered from, to tell whether it is the same experiment."""
STOP_ANNOTATION = "hpo-pipeline/stop"
"""Put on a running experiment: its trials end early, and it ends when they have."""

FOLLOWED_ANNOTATION = "hpo-pipeline/followed"
"""On the experiment of a pipeline: when its follower was last there (see follow_mark.py)."""

MINUTES_ANNOTATION = "hpo-pipeline/minutes"
"""The time budget, for the stopping service."""

DATA_ANNOTATION = "hpo-pipeline/data"
"""The fingerprint of the data that the trials of an experiment are trained on."""

LOG_FORMAT_ANNOTATION = "hpo-pipeline/log-format"
"""`json` where the services of an experiment write their logs as JSON."""

TOKEN_ANNOTATION = "hpo-pipeline/token-sha256"
"""The hash of the token with which the trials of an experiment speak to the stopping service."""

TOKEN_ENTRY = "token"

SERVICES_ACCOUNT = "hpo-services"


def database_address(katib_namespace: str) -> str:
    """Return where Katib's database takes reports."""
    return f"katib-db-manager.{katib_namespace}:{DATABASE_PORT}"


def token_secret(experiment: str) -> str:
    """Return the name of the Secret with the token of an experiment."""
    return f"{experiment}-token"
