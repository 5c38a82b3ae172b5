"""The exporter on a cluster: least privilege, restricted, and the paths that it serves."""

from __future__ import annotations

from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "manifests/monitoring"


def objects():
    others = ("kustomization.yaml", "rules.yaml")  # of kustomize and of Prometheus
    files = [p for p in FOLDER.rglob("*.yaml") if p.name not in others]
    return [item for file in files for item in yaml.safe_load_all(file.read_text())]


def test_the_exporter_may_only_list_and_watch():
    rules = [r for item in objects() if item["kind"] == "Role" for r in item["rules"]]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
    found = {resource for rule in rules for resource in rule["resources"]}
    assert found == {"experiments", "trials", "pods"}


def test_its_pod_is_restricted():
    (deployment,) = (item for item in objects() if item["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_all_speak_of_the_same_pods():
    labels = {"app.kubernetes.io/name": "hpo-pipeline", "app.kubernetes.io/component": "exporter"}
    for item in objects():
        if item["kind"] in ("ServiceMonitor", "PodMonitor", "Deployment"):
            assert item["spec"]["selector"]["matchLabels"] == labels
        elif item["kind"] == "Service":
            assert item["spec"]["selector"] == labels
