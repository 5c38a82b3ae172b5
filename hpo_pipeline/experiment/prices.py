"""The section `prices`: what an hour of a processor core, a GPU or a whole instance costs.

They give the price of a million predictions, which is a metric as all others, and that of the
search.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from hpo_pipeline.experiment.space import Frozen

COST, ENERGY = "cost_per_million", "energy_j"
INSTANCE_LABEL = "node.kubernetes.io/instance-type"
"""By which a node selector names the type of instance (kubernetes.io/docs, Well-Known Labels)."""
Price = Annotated[float, Field(ge=0, le=1e6)]


class Prices(Frozen):
    """Prices of an hour: of a core, of a GPU, and of whole instances by their type.

    `currency` is only printed behind amounts.
    """

    cpu_hour: Price | None = None
    gpu_hour: Price | None = None
    instances: dict[str, Price] = {}
    currency: Annotated[str, Field(pattern=r"^[A-Za-z]{0,12}$")] = ""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.cpu_hour is None and self.gpu_hour is None and not self.instances:
            raise ValueError("must have cpu_hour, gpu_hour or instances")
        return self

    def of_request(
        self, *, threads: int, on_gpu: bool, instance: str | None = None
    ) -> float | None:
        """Return the price of an hour of what answers requests; None where it is not given.

        Args:
            threads: of a request on processors.
            instance: the type of the instance, which then answers nothing else meanwhile.
        """
        if instance is not None:
            return self.instances.get(instance)
        if on_gpu:
            return self.gpu_hour
        return None if self.cpu_hour is None else self.cpu_hour * threads

    def amount(self, value: float) -> str:
        """Write an amount."""
        digits = 2 if value >= 1 or value == 0 else 4
        return f"{value:,.{digits}f} {self.currency}".rstrip()
