"""A registered model as a KServe InferenceService: `hpo render --serving NAME`.

Its pods run `hpo serve` on the artefact that was measured, so that what is paid for is what was
chosen. A pure function; nothing here talks to a cluster or to a registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.experiment.cluster import Cluster
from hpo_pipeline.registry.record import ModelRecord

Object = dict[str, Any]
MOUNT = "/mnt/models"
"""Where KServe's storage initializer puts what STORAGE_URI names."""
PORT = 8080
USER = 1000
SCHEMES = ("s3://", "gs://", "pvc://", "hf://", "https://", "http://", "hdfs://", "webhdfs://")
"""What KServe's storage initializer fetches."""


@dataclass(frozen=True)
class Serving:
    """How a version is served.

    Attributes:
        canary: percent of the requests; the revision before gets the others. None for all.
        storage: a URI in place of the registry's, for a registry that the cluster does not see.
        cluster: image, namespace and what its pods are like.
        node_selector: of the nodes that serve, beside those of `cluster`.
    """

    canary: int | None = None
    storage: str | None = None
    cluster: Cluster = field(default_factory=Cluster)
    node_selector: Mapping[str, str] = field(default_factory=dict)


def inference_service(record: ModelRecord, serving: Serving) -> Object:
    """Return the InferenceService of a version.

    Raises:
        RegistryError: KServe cannot fetch the model from where the registry keeps it.
    """
    cluster = serving.cluster
    predictor: Object = {"containers": [_container(record, serving)]}
    if serving.canary is not None:
        predictor["canaryTrafficPercent"] = serving.canary
    if selector := {**cluster.node_selector, **serving.node_selector}:
        predictor["nodeSelector"] = selector
    if cluster.tolerations:
        predictor["tolerations"] = [t.model_dump(exclude_none=True) for t in cluster.tolerations]
    if cluster.pull_secrets:
        predictor["imagePullSecrets"] = [{"name": name} for name in cluster.pull_secrets]
    predictor["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": _dns_name(record.name),
            "namespace": cluster.namespace,
            "annotations": {
                "hpo-pipeline/version": str(record.version),
                "hpo-pipeline/experiment": record.experiment,
                "hpo-pipeline/trial": record.trial,
                "hpo-pipeline/model-sha256": record.model_sha256,
            },
        },
        "spec": {"predictor": predictor},
    }


def _container(record: ModelRecord, serving: Serving) -> Object:
    cluster, name = serving.cluster, _dns_name(record.name)
    limits = {"cpu": cluster.cpu, "memory": cluster.memory}
    return {
        "name": "kserve-container",
        "image": cluster.image,
        "command": ["python", "-P", "-m", "hpo_pipeline"],
        "args": [
            *("serve", MOUNT, "--host", "0.0.0.0", "--port", str(PORT)),
            *("--name", name, "--no-measure"),
        ],
        "env": [
            {"name": "STORAGE_URI", "value": _storage(record, serving.storage)},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "HF_HOME", "value": "/tmp/huggingface"},
        ],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": f"/v1/models/{name}", "port": PORT}},
        "resources": {"requests": dict(limits), "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _storage(record: ModelRecord, given: str | None) -> str:
    uri = given or record.model_uri
    if not uri.startswith(SCHEMES):
        raise RegistryError(
            f"{record.name} version {record.version}: is kept in {uri}, which no pod of KServe "
            f"sees; copy the folder to where they do, and name it: --storage-uri "
            f"s3://BUCKET/PATH or pvc://CLAIM/PATH"
        )
    return uri


def _dns_name(name: str) -> str:
    """Return a model's name as Kubernetes wants it."""
    return name.replace(".", "-").replace("_", "-")
