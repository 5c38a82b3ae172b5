"""The Kubeflow pipeline: its components and graph, its upload, and its schedule."""
