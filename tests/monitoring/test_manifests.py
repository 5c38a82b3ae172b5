"""The exporter on a cluster: least privilege, restricted, and the paths that it serves."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from hpo_pipeline.cli.watching import add_commands

FOLDER = Path(__file__).parents[2] / "manifests/monitoring"


def objects():
    others = ("kustomization.yaml", "rules.yaml")  # of kustomize and of Prometheus
    files = [p for p in FOLDER.rglob("*.yaml") if p.name not in others]
    return [item for file in files for item in yaml.safe_load_all(file.read_text())]


def test_the_exporter_may_only_list_and_watch():
    roles = {i["metadata"]["name"]: i["rules"] for i in objects() if i["kind"] == "Role"}
    rules = [rule for found in roles.values() for rule in found]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
    found = {resource for rule in roles["hpo-exporter"] for resource in rule["resources"]}
    assert found == {"experiments", "trials", "pods"}


def test_schedules_are_read_where_one_line_says_so():
    text = (FOLDER / "kustomization.yaml").read_text()
    assert "components" not in yaml.safe_load(text)
    chosen = yaml.safe_load(text.replace("# components", "components"))["components"]
    assert chosen == ["schedules"]
    assert options_of("schedules") == ["--kfp=http://ml-pipeline.kubeflow:8888"]
    profile = yaml.safe_load((FOLDER / "schedules-profile/kustomization.yaml").read_text())
    assert profile["components"] == ["../schedules"]
    assert options_of("schedules-profile") == ["--kfp-namespace=$(NAMESPACE)"]


def options_of(component):
    """Return the options that a component adds, which `hpo exporter` must know."""
    content = yaml.safe_load((FOLDER / component / "kustomization.yaml").read_text())
    changes = [change for patch in content["patches"] for change in yaml.safe_load(patch["patch"])]
    found = [change["value"] for change in changes if change["path"].endswith("/args/-")]
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parser.parse_args(["exporter", *found])
    return found


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
