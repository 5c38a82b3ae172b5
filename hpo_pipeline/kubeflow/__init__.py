"""Kubeflow Pipelines: the client, and the steps that its components call. No kfp in here."""
