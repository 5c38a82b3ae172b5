"""Registries on servers: MLflow and Kubeflow Model Registry."""
