"""The experiment `toy` and its trials as the API server shows them, made up when asked for."""

from __future__ import annotations

from hpo_pipeline.engines.katib.manifest import manifests
from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.errors import ClusterError
from tests.toys import toy_experiment


class Toys:
    """A cluster with the experiment `toy`, whose trials all run.

    Attributes:
        asked: the names that were looked up.
        changes: what was patched or deleted.
    """

    max_trials = 40

    def __init__(self, token: str | None = None):
        experiment = toy_experiment(budget={"trials": self.max_trials})
        self.experiment = manifests(experiment, token=token)[1]
        self.experiment["metadata"]["resourceVersion"] = "1"
        self.experiment["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        self.trials = {}
        self.asked = []
        self.changes = []

    def get(self, kind, namespace, name):
        self.asked.append(name)
        if kind.plural == "experiments" and name == "toy":
            return self.experiment
        if kind.plural == "trials" and name.startswith("toy-"):
            return self.trials.get(name, self.get_trial(name))
        if kind.plural == "trials" and name.startswith("other-"):
            return {"metadata": {"name": name, "labels": {EXPERIMENT_LABEL: "other"}}}
        raise ClusterError(f"{name} not found", status=404)

    def get_trial(self, name):
        return {"metadata": {"name": name, "labels": {EXPERIMENT_LABEL: "toy"}}}

    def list(self, kind, namespace, *, labels=""):
        return {"items": list(self.trials.values())}

    def patch(self, kind, namespace, name, change, *, subresource=""):
        self.changes.append(("patch", kind.plural, name))
        target = self.experiment if kind.plural == "experiments" else self.trials[name]
        if "status" in change:
            target["status"] = change["status"]
        notes = change.get("metadata", {}).get("annotations", {})
        target["metadata"].setdefault("annotations", {}).update(notes)

    def delete(self, kind, namespace, name):
        self.changes.append(("delete", kind.plural, name))
