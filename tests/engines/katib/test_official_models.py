"""Rendered objects and manifests, read by the models that Katib and Kubernetes publish.

What those models do not know is lost when they write an object again, so an equal object has no
unknown field and no value of a wrong type.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hpo_pipeline.engines.katib.manifest import manifests
from hpo_pipeline.engines.katib.removal import removal_job
from hpo_pipeline.engines.kubernetes.pods import work_job
from hpo_pipeline.experiment.loading import load
from tests.toys import toy_experiment

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "experiments").glob("*.yaml"))
BASE = [*sorted((ROOT / "manifests/base").glob("*.yaml")), ROOT / "manifests/pipeline/rbac.yaml"]
EVERYTHING = {
    "gpus": 1,
    "node_selector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priority_class": "low",
    "queue": "team",
    "pull_secrets": ["pull"],
    "env": {"A": "b", "C": {"secretKeyRef": {"name": "s", "key": "k"}}},
    "env_from": ["secret"],
    "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
    "volume_mounts": [{"name": "cache", "mountPath": "/cache"}],
}


def read_by_kubernetes(item):
    """Return an object as the client of Kubernetes reads and writes it."""
    client = pytest.importorskip("kubernetes.client")
    api = client.ApiClient()
    kind = {"batch/v1": "V1Job"}.get(item["apiVersion"], f"V1{item['kind']}")
    found = api.deserialize(SimpleNamespace(data=json.dumps(item)), kind)
    return api.sanitize_for_serialization(found)


def read_by_katib(item):
    """Return an Experiment as Katib's own models read and write it."""
    models = pytest.importorskip("kubeflow_katib_api.models")
    return models.V1beta1Experiment.from_dict(item).to_dict()


def every_experiment():
    yield from (pytest.param(load(path), id=path.stem) for path in EXAMPLES)
    stock = {"algorithm": "katib:tpe"}, {"algorithm": "katib:medianstop"}
    yield pytest.param(toy_experiment(cluster=EVERYTHING), id="everything")
    yield pytest.param(toy_experiment(search=stock[0], stopping=stock[1]), id="stock")


@pytest.mark.parametrize("experiment", list(every_experiment()))
def test_katib_and_kubernetes_know_every_field(experiment):
    config, custom, *secrets = manifests(experiment, token="s3cret")
    assert read_by_katib(custom) == custom
    job = {**custom["spec"]["trialTemplate"]["trialSpec"], "metadata": {"name": "toy-0000"}}
    for item in (config, job, *secrets):
        assert read_by_kubernetes(item) == item


def test_a_field_that_nobody_knows_would_be_seen():
    _, custom = manifests(toy_experiment())
    custom["spec"]["parallelTrials"] = 2
    assert read_by_katib(custom) != custom
    job = work_job(toy_experiment(), "toy-1", "toy-train", ["train"])
    job["spec"]["podFailurePolicies"] = {}
    assert read_by_kubernetes(job) != job


def test_jobs_around_the_search():
    experiment = toy_experiment(cluster=EVERYTHING)
    for job in (work_job(experiment, "c", "toy-train", ["train"]), removal_job(experiment, "c")):
        assert read_by_kubernetes(job) == job


@pytest.mark.parametrize("file", BASE, ids=lambda path: path.name)
def test_the_manifests_of_a_namespace(file):
    for item in yaml.safe_load_all(file.read_text("utf-8")):
        if item["apiVersion"].startswith("kustomize"):
            continue
        assert read_by_kubernetes(item) == item
