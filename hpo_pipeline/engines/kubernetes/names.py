"""Names and labels of the jobs that we start on a cluster."""

from __future__ import annotations

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


JOB_LABEL = "batch.kubernetes.io/job-name"


TRIAL_CONTAINER = "trial"
