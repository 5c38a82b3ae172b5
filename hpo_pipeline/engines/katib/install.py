"""Registering our services in Katib: entries of the ConfigMap `katib-config`, and taking them out.

The configuration is edited as text, between two comment lines, so that everything else, comments
included, stays as it is to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from hpo_pipeline.engines.katib.names import PREFIX, SERVICES_ACCOUNT, SUGGESTION_PORT
from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, Api, Object
from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.algorithms import served
from hpo_pipeline.experiment.stopping import RULES

CONFIG_MAP, CONFIG_KEY = "katib-config", "katib-config.yaml"
BEGIN, END = "# hpo-pipeline: begin", "# hpo-pipeline: end"
SEARCHES = served()
"""Our algorithms behind names of Katib, each with the image that serves it."""
IMAGES = {target: f"hpo-{target}:dev" for target in ("suggestion", "suggestion-gp", "stopping")}
# Katib's default limit is 100 MiB, which Optuna does not fit into.
MEMORY = {"suggestion": "400Mi", "suggestion-gp": "2Gi", "stopping": "400Mi"}


def entries(images: dict[str, str] | None = None) -> dict[str, list[Object]]:
    """Return what goes below `runtime` of Katib's configuration."""
    found = {**IMAGES, **(images or {})}
    searches = [_suggestion(name, target, found) for name, target in SEARCHES.items()]
    rules = [
        {
            "algorithmName": PREFIX + name,
            "image": found["stopping"],
            "imagePullPolicy": "IfNotPresent",
            "resources": _resources("stopping"),
        }
        for name in RULES
    ]
    return {"suggestions": searches, "earlyStoppings": rules}


def services(algorithm: str) -> list[Object]:
    """Return the containers of the pod that serves a search, as far as their resources go."""
    target = "suggestion-gp" if algorithm == "gp" else "suggestion"
    return [{"resources": _resources(target)}, {"resources": _resources("stopping")}]


def merged(text: str, images: dict[str, str] | None = None) -> str:
    """Return Katib's configuration with our entries, in place of those that may be there.

    Raises:
        BackendError: the configuration is not as Katib 0.19 has it.
    """
    text = removed(text)
    for section, listed in entries(images).items():
        text = _with(text, section, listed)
    return text


def removed(text: str) -> str:
    """Return Katib's configuration without our entries."""
    pattern = rf"^[ ]*{BEGIN}$\n.*?^[ ]*{END}$\n"
    return re.sub(pattern, "", text, flags=re.MULTILINE | re.DOTALL)


def known_algorithms(text: str) -> tuple[set[str], set[str]]:
    """Return the names of the search algorithms and stopping rules of a configuration."""
    runtime = (yaml.safe_load(text) or {}).get("runtime") or {}
    return _listed(runtime.get("suggestions")), _listed(runtime.get("earlyStoppings"))


def install(api: Api, namespace: str, images: dict[str, str] | None = None) -> bool:
    """Put our entries into the configuration of the Katib in a namespace; tell what changed."""
    return _change(api, namespace, lambda text: merged(text, images))


def uninstall(api: Api, namespace: str) -> bool:
    """Take our entries out again; return whether there were any."""
    return _change(api, namespace, removed)


def configuration(api: Api, namespace: str) -> str:
    """Return the text of Katib's configuration.

    Raises:
        ClusterError: there is none, or it may not be read.
        BackendError: it is not as expected.
    """
    found = api.get(CONFIG_MAPS, namespace, CONFIG_MAP)
    try:
        text: str = found["data"][CONFIG_KEY]
    except KeyError as error:
        raise BackendError(f"{namespace}/{CONFIG_MAP}: has no {CONFIG_KEY}") from error
    return text


def _change(api: Api, namespace: str, edit: Any) -> bool:
    before = configuration(api, namespace)
    after = edit(before)
    if after == before:
        return False
    known_algorithms(after)  # it must be YAML still
    operations = [
        # Not over a change by somebody else in between.
        {"op": "test", "path": f"/data/{CONFIG_KEY}", "value": before},
        {"op": "replace", "path": f"/data/{CONFIG_KEY}", "value": after},
    ]
    api.patch(CONFIG_MAPS, namespace, CONFIG_MAP, operations)
    return True


def _with(text: str, section: str, listed: list[Object]) -> str:
    """Return the configuration with entries added at the head of a list below `runtime`."""
    runtime = _value(yaml.compose(text), "runtime")
    if not isinstance(runtime, yaml.MappingNode):
        raise BackendError(
            f"{CONFIG_MAP}: has no `runtime:`, so it is of a Katib before 0.16; 0.19 is supported"
        )
    lines = text.splitlines(keepends=True)
    found = _value(runtime, section)
    if isinstance(found, yaml.SequenceNode) and not found.flow_style:
        line, indent = found.start_mark.line, found.start_mark.column
        block = _block(listed, indent)
        return "".join([*lines[:line], *block, *lines[line:]])
    if found is not None:
        raise BackendError(f"{CONFIG_MAP}: runtime.{section} is not a plain list; edit it by hand")
    line, indent = runtime.start_mark.line, runtime.start_mark.column
    head = f"{' ' * indent}{section}:\n"
    block = _block(listed, indent + 2, head=head)
    return "".join([*lines[:line], *block, *lines[line:]])


def _block(listed: list[Object], indent: int, head: str = "") -> list[str]:
    margin = " " * indent
    body = yaml.safe_dump(listed, sort_keys=False).splitlines()
    return [
        f"{margin}{BEGIN}\n",
        *([head] if head else []),
        *(f"{margin}{line}\n" for line in body),
        f"{margin}{END}\n",
    ]


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _listed(entries: Iterable[Object] | None) -> set[str]:
    return {entry["algorithmName"] for entry in entries or ()}


def _suggestion(name: str, target: str, images: dict[str, str]) -> Object:
    return {
        "algorithmName": PREFIX + name,
        "image": images[target],
        "imagePullPolicy": "IfNotPresent",
        "serviceAccountName": SERVICES_ACCOUNT,
        "resources": _resources(target),
        # Katib's own probe waits for 10 s and then asks every 10 s.
        "readinessProbe": {
            "grpc": {"port": SUGGESTION_PORT, "service": "manager.v1beta1.Suggestion"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 120,
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _resources(target: str) -> Object:
    return {
        "requests": {"cpu": "50m", "memory": "150Mi" if target != "suggestion-gp" else "1Gi"},
        "limits": {"cpu": "1", "memory": MEMORY[target]},
    }
