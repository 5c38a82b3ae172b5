"""The Kubeflow pipeline: components, graph, upload and schedule. All the work is hpo_pipeline's."""
