"""Experiments for a real cluster, and what tests do with them there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, PODS, TRIALS, Kind, KubernetesApi
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError

NAMESPACE = os.environ.get("HPO_E2E_NAMESPACE", "hpo")

EXPERIMENT = """
name: {name}
task:
  kind: image-classification
  model: vit
  from_scratch: true
  data: digits
  rows: {{train: 400, validation: 200, test: 200}}
  config: {{patch_size: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32}}
  training: {{num_train_epochs: {epochs}, per_device_train_batch_size: 32}}
objective: {{metric: accuracy, goal: maximize}}
space:
  learning_rate: {{type: float, low: 1.0e-5, high: 1.0e-1, log: true}}
  model.num_hidden_layers: {{type: int, low: 1, high: 2}}
search: {search}
stopping: {stopping}
budget: {budget}
cluster: {cluster}
"""
OURS = f"{EXPERIMENT_LABEL}=e2e"
"""What is disturbed: others may use the namespace."""
SMALL = "{cpu: 400m, memory: 1Gi}"


def remove(api, names):
    for name in names:
        try:
            api.delete(EXPERIMENTS, NAMESPACE, name)
        except ClusterError:
            continue
        while pods(api, f"{EXPERIMENT_LABEL}={name}"):
            time.sleep(0.5)


def pods(api, labels=""):
    return api.list(PODS, NAMESPACE, labels=labels)["items"]


def hpo(*arguments, timeout=900, kubeconfig=None):
    command = [sys.executable, "-m", "hpo_pipeline", *map(str, arguments)]
    environment = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env=environment
    )


def run(file, folder, **options):
    return hpo("run", file, "--engine", "katib", "--run", folder, **options)


def summary(folder):
    return json.loads(hpo("status", folder, "--json").stdout)


def trials(api, name):
    found = api.list(TRIALS, NAMESPACE, labels=f"{EXPERIMENT_LABEL}={name}")["items"]
    return sorted(item["metadata"]["name"] for item in found)


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.3)


def running_trial_pods(api):
    found = pods(api, f"{OURS},{JOB_LABEL}")
    return [pod for pod in found if pod["status"].get("phase") == "Running"]


def evict(pod):
    """Evict a pod, as draining its node does."""
    name = pod["metadata"]["name"]
    eviction = Kind("", "v1", f"pods/{name}/eviction")
    body = {"apiVersion": "policy/v1", "kind": "Eviction"}
    metadata = {"name": name, "namespace": NAMESPACE}
    KubernetesApi().create(eviction, NAMESPACE, {**body, "metadata": metadata})


def lose(pod):
    """Treat a pod as the garbage collector does whose node is gone."""
    name, status = pod["metadata"]["name"], pod["status"]
    lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
    change = {"status": {"phase": "Failed", "conditions": [*status["conditions"], lost]}}
    KubernetesApi().patch(PODS, NAMESPACE, name, change, subresource="status")
    KubernetesApi().delete(PODS, NAMESPACE, name)
