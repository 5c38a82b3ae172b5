"""Retraining on a schedule: recurring runs of Kubeflow Pipelines, or a CronJob."""
