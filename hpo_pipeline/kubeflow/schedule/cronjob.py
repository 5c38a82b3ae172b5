"""A schedule as a manifest: a CronJob that starts runs of the pipeline.

A ScheduledWorkflow created by kubectl does not work: KFP 2.17 runs one only if its own database has
a recurring run of that uid ("RecurringRunId doesn't exist", resource_manager.go CreateRun), and
nothing puts it there. A CronJob also has a time zone of its own, which KFP lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from hpo_pipeline.kubeflow.schedule.cron import Cron

Json = dict[str, Any]
LABELS = {
    "app.kubernetes.io/name": "hpo-pipeline",
    "app.kubernetes.io/component": "schedule",
}
IN_CLUSTER = "http://ml-pipeline.kubeflow:8888"
"""Where pods reach the API of a Kubeflow Pipelines with its default names."""
_TOKENS = "/var/run/secrets/kubeflow/pipelines"
_HEAD = """\
# kubectl apply -f FILE       starts {group} by pipeline {pipeline} at {cron} {timezone}
# kubectl -n {namespace} create job --from=cronjob/{name} now    starts it now
# kubectl -n {namespace} patch cronjob {name} -p '{{"spec":{{"suspend":true}}}}'    pauses it
# In a profile of a multi-user Kubeflow: serviceAccountName: default-editor.
"""


@dataclass(frozen=True)
class Starter:
    """What a CronJob starts, and when."""

    name: str
    namespace: str
    cron: Cron
    timezone: str
    image: str
    pipeline: str
    group: str
    experiment: str
    parameters: Mapping[str, str]
    endpoint: str
    service_account: str = ""


def render(starter: Starter) -> str:
    """Return the ConfigMap with the experiment and the CronJob, as YAML for kubectl."""
    head = _HEAD.format(
        group=starter.group,
        pipeline=starter.pipeline,
        cron=starter.cron.five,
        timezone=starter.timezone,
        namespace=starter.namespace,
        name=starter.name,
    )
    documents = [_config_map(starter), _cron_job(starter)]
    return head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100)


def _metadata(starter: Starter) -> Json:
    return {"name": starter.name, "namespace": starter.namespace, "labels": dict(LABELS)}


def _config_map(starter: Starter) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(starter),
        "data": {"experiment.yaml": starter.experiment},
    }


def _cron_job(starter: Starter) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(starter),
        "spec": {
            "schedule": starter.cron.five,
            "timeZone": starter.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,  # no backlog: a start missed by an hour is skipped
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 4,
                    "activeDeadlineSeconds": 900,
                    "ttlSecondsAfterFinished": 7 * 24 * 3600,
                    "template": {
                        "metadata": {
                            "labels": {**LABELS, "sidecar.istio.io/inject": "false"},
                        },
                        "spec": _pod(starter),
                    },
                }
            },
        },
    }


def _pod(starter: Starter) -> Json:
    command = ["hpo", "pipeline", "run", "/schedule/experiment.yaml"]
    command += [f"--schedule={starter.name}", f"--pipeline={starter.pipeline}"]
    command += [f"--group={starter.group}"]
    if starter.service_account:
        command.append(f"--service-account={starter.service_account}")
    command += [f"--set={key}={value}" for key, value in starter.parameters.items()]
    job_name = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    namespace = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return {
        "restartPolicy": "Never",
        "serviceAccountName": "default",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "start",
                "image": starter.image,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "env": [
                    {"name": "KFP_ENDPOINT", "value": starter.endpoint},
                    {"name": "KFP_NAMESPACE", "valueFrom": namespace},
                    {"name": "HPO_START", "valueFrom": job_name},
                    {"name": "KF_PIPELINES_SA_TOKEN_PATH", "value": f"{_TOKENS}/token"},
                ],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "schedule", "mountPath": "/schedule", "readOnly": True},
                    {"name": "kfp-token", "mountPath": _TOKENS, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "schedule", "configMap": {"name": starter.name}},
            {
                "name": "kfp-token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "path": "token",
                                "audience": "pipelines.kubeflow.org",
                                "expirationSeconds": 7200,
                            }
                        }
                    ]
                },
            },
        ],
    }


class _Dumper(yaml.SafeDumper):
    """A dumper that writes multi-line texts as blocks, and repeats objects instead of aliasing."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeat an object rather than refer to it by an alias."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
