"""The section `cluster` of the experiment file: what only the Katib engine reads.

Part of the schema of the experiment file: where pods run, with what, and where they keep their
results. What becomes of it in a manifest is in katib/manifest.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from hpo_pipeline.experiment.secret_names import is_secret
from hpo_pipeline.experiment.space import Frozen, as_tuple
from hpo_pipeline.experiment.uris import Uri

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
ResourceName = Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
Names = Annotated[tuple[DnsName, ...], BeforeValidator(as_tuple)]


def _as_text(value: Any) -> Any:
    """Return a number as Kubernetes writes it: `cpu: 2` means the same as `cpu: "2"`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


QuantityText = Annotated[
    Quantity, BeforeValidator(_as_text, json_schema_input_type=Quantity | int | float)
]


class Toleration(Frozen):
    """A taint of nodes that trials put up with, in the words of Kubernetes."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    tolerationSeconds: int | None = None


class Storage(Frozen):
    """Where datasets and results lie: a claim, or a place that fsspec opens such as s3://…

    `secret` names the secret whose entries the pods get as environment variables, which is how
    fsspec's drivers take their credentials.
    """

    claim: DnsName | None = None
    # Katib joins the command line into `sh -c` for its own collector: nothing that a shell reads.
    uri: Annotated[Uri, Field(pattern=r"^[a-z0-9]+://[\w.:/@%+,=~-]+$")] | None = None
    secret: DnsName | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.claim is None) == (self.uri is None):
            raise ValueError("give either claim: NAME or uri: s3://…")
        if self.secret and not self.uri:
            raise ValueError("secret goes with uri; a claim needs none")
        return self


OWN_VOLUMES = ("experiment", "storage", "tmp", "shared-memory")


def _volume(value: Any) -> Any:
    """Check a volume in the words of Kubernetes, as far as a wrong one would do harm."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError(f"must be a volume of Kubernetes with a name, got {value!r}")
    if value["name"] in OWN_VOLUMES:
        raise ValueError(f"the names {', '.join(OWN_VOLUMES)} are taken, got {value['name']!r}")
    if "hostPath" in value:
        raise ValueError("hostPath is not allowed: it gives a pod the node's files")
    return value


def _mount(value: Any) -> Any:
    if not isinstance(value, dict) or not {"name", "mountPath"} <= value.keys():
        raise ValueError(f"must have name and mountPath, got {value!r}")
    return value


Volume = Annotated[dict[str, Any], BeforeValidator(_volume)]
Mount = Annotated[dict[str, Any], BeforeValidator(_mount)]


def _without_secrets(env: dict[str, Any]) -> dict[str, Any]:
    """Refuse plain values under names of credentials: the file is copied to many places."""
    plain = [name for name, value in env.items() if isinstance(value, str) and is_secret(name)]
    if plain:
        raise ValueError(
            f"{', '.join(plain)}: credentials must come from a secret, for the file is copied to "
            f"ConfigMaps and run folders; write {plain[0]}: "
            "{secretKeyRef: {name: SECRET, key: KEY}}"
        )
    return env


class Cluster(Frozen):
    """What the pods of the trials are like, and the namespace they run in.

    `env` has texts, or where a value comes from in the words of Kubernetes (`secretKeyRef` and so
    on); `volumes`, `volume_mounts` and `affinity` are in its words too.
    """

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "hpo"
    image: Annotated[str, Field(pattern=r"^[\w.:/@-]+$")] = "hpo-trial:dev"
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    gpu_resource: ResourceName = "nvidia.com/gpu"
    cpu: QuantityText = "2"
    memory: QuantityText = "4Gi"
    node_selector: dict[str, str] = {}
    tolerations: Annotated[tuple[Toleration, ...], BeforeValidator(as_tuple)] = ()
    priority_class: DnsName | None = None
    queue: DnsName | None = None
    service_account: DnsName = "hpo-trial"
    pull_secrets: Names = ()
    affinity: dict[str, Any] = {}
    env: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str | dict[str, Any]],
        AfterValidator(_without_secrets),
    ] = {}
    env_from: Names = ()
    volumes: Annotated[tuple[Volume, ...], BeforeValidator(as_tuple)] = ()
    volume_mounts: Annotated[tuple[Mount, ...], BeforeValidator(as_tuple)] = ()
    storage: Storage = Storage(claim="hpo-storage")
    shared_memory: QuantityText = "1Gi"
    katib_namespace: DnsName = "kubeflow"

    @field_validator("gpus")
    @classmethod
    def _one_gpu(cls, gpus: int) -> int:
        # transformers would wrap the model in DataParallel and multiply the batch, in silence.
        if gpus > 1:
            raise ValueError("must be 0 or 1: a trial cannot use several GPUs yet")
        return gpus


def changes_from(fragments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of the section for parts of a pod in the words of Kubernetes.

    Args:
        fragments: `resources`, `env`, `node_selector`, `tolerations`, `affinity`, `volumes` and
            `volume_mounts`, as Kubeflow Pipelines hands on what is set on a step; None is nothing.
    """
    given = {name: value for name, value in fragments.items() if value}
    found: dict[str, Any] = {
        name: given[name]
        for name in ("node_selector", "tolerations", "affinity", "volumes", "volume_mounts")
        if name in given
    }
    resources = given.get("resources", {})
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    for name, amount in amounts.items():
        if name in ("cpu", "memory"):
            found[name] = amount
        elif "/" in name:
            found |= {"gpu_resource": name, "gpus": int(amount)}
    if "env" in given:
        found["env"] = {e["name"]: e.get("value", e.get("valueFrom", "")) for e in given["env"]}
    return found
