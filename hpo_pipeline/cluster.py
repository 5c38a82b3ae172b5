"""The section `cluster` of the experiment file: what only the Katib engine reads.

Part of the schema of the experiment file: where pods run, with what, and where they keep their
results. What becomes of it in a manifest is in katib/manifest.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hpo_pipeline.space import Frozen, as_tuple

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
ResourceName = Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
Names = Annotated[tuple[DnsName, ...], BeforeValidator(as_tuple)]


def _as_text(value: Any) -> Any:
    """Return a number as Kubernetes writes it: `cpu: 2` means the same as `cpu: "2"`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


Amount = Annotated[Quantity, BeforeValidator(_as_text)]


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
    uri: Annotated[str, Field(pattern=r"^[a-z0-9]+://\S+$")] | None = None
    secret: DnsName | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.claim is None) == (self.uri is None):
            raise ValueError("give either claim: NAME or uri: s3://…")
        if self.secret and not self.uri:
            raise ValueError("secret goes with uri; a claim needs none")
        return self


class Cluster(Frozen):
    """What the pods of the trials are like, and the namespace they run in."""

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "hpo"
    image: Annotated[str, Field(pattern=r"^[\w.:/@-]+$")] = "hpo-trial:dev"
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    gpu_resource: ResourceName = "nvidia.com/gpu"
    cpu: Amount = "2"
    memory: Amount = "4Gi"
    node_selector: dict[str, str] = {}
    tolerations: Annotated[tuple[Toleration, ...], BeforeValidator(as_tuple)] = ()
    priority_class: DnsName | None = None
    queue: DnsName | None = None
    service_account: DnsName = "hpo-trial"
    pull_secrets: Names = ()
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = {}
    env_from: Names = ()
    storage: Storage = Storage(claim="hpo-storage")
    shared_memory: Amount = "1Gi"
    katib_namespace: DnsName = "kubeflow"
