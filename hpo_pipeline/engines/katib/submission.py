"""Creating an experiment on a cluster, with what belongs to it: its file and its token.

All three carry a label with the experiment's name, by which `hpo delete` finds them, and the file
and the token are owned by the Experiment, so that they go with it however it is deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from hpo_pipeline.engines.katib import manifest
from hpo_pipeline.engines.katib.names import TOKEN_ANNOTATION
from hpo_pipeline.engines.kubernetes.api import (
    CONFIG_MAPS,
    EXPERIMENTS,
    SECRETS,
    Api,
    Kind,
    Object,
)
from hpo_pipeline.engines.kubernetes.run_mark import marked, run_of
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial

CONFLICT, NOT_FOUND, FORBIDDEN = 409, 404, 403


def submit(
    api: Api,
    experiment: Experiment,
    earlier: Sequence[Trial],
    notes: Mapping[str, str],
    *,
    mark: Callable[[Object], Object] = lambda body: body,
) -> bool:
    """Create an experiment; return False where there is one of this name already.

    Args:
        notes: annotations of the Experiment, beside those that it always has.
        mark: puts the id of the run on an object.

    Raises:
        ClusterError: the cluster refuses it.
        ExperimentError: it cannot run on a cluster.
    """
    namespace = experiment.cluster.namespace
    token = manifest.new_token()
    bodies = manifest.manifests(experiment, earlier, token=token)
    config, custom, *secrets = map(mark, bodies)
    custom["metadata"]["annotations"] |= notes
    is_new = _create(api, CONFIG_MAPS, config) is not None
    found = _create(api, EXPERIMENTS, custom)
    if found is None:
        if is_new:
            with contextlib.suppress(ClusterError):
                api.delete(CONFIG_MAPS, namespace, config["metadata"]["name"])
        return False
    # Before the services are up, so before the first trial: its pod waits for the Secret.
    for secret in secrets:
        owned = {**secret, "metadata": {**secret["metadata"], "ownerReferences": [_owner(found)]}}
        if _create(api, SECRETS, owned) is None:
            # Of an earlier experiment of this name, with another token.
            api.delete(SECRETS, namespace, secret["metadata"]["name"])
            api.create(SECRETS, namespace, owned)
    with contextlib.suppress(ClusterError):  # else `hpo delete` removes it, by its label
        change = {"metadata": {"ownerReferences": [_owner(found)]}}
        api.patch(CONFIG_MAPS, namespace, config["metadata"]["name"], change)
    return True


def restore_token(api: Api, experiment: Experiment, found: Object) -> None:
    """Make a new token for an experiment whose Secret is gone; its trials could not start.

    The Secret may be missing where a client was cut off between the Experiment and the Secret.
    """
    notes = found["metadata"].get("annotations") or {}
    if TOKEN_ANNOTATION not in notes:
        return
    token = manifest.new_token()
    secret = manifest.token_secret(experiment, token)
    secret["metadata"]["ownerReferences"] = [_owner(found)]
    if (run_id := run_of(found)) is not None:
        secret = marked(secret, run_id)
    # Without the right to create Secrets, the run is followed all the same.
    with contextlib.suppress(ClusterError):
        if _create(api, SECRETS, secret) is not None:
            change = {"metadata": {"annotations": {TOKEN_ANNOTATION: manifest.verifier(token)}}}
            api.patch(EXPERIMENTS, experiment.cluster.namespace, experiment.name, change)


def _create(api: Api, kind: Kind, body: Object) -> Object | None:
    try:
        return api.create(kind, body["metadata"]["namespace"], body)
    except ClusterError as error:
        if error.status == CONFLICT:
            return None
        raise


def _owner(experiment: Object) -> Object:
    metadata = experiment["metadata"]
    reference = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment"}
    return {**reference, "name": metadata["name"], "uid": metadata["uid"]}
