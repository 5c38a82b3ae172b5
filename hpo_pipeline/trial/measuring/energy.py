"""How much energy the device of a model has used: counters that the hardware keeps.

Processors: RAPL, which Linux shows below /sys/class/powercap (kernel documentation,
power/powercap); many systems let only root read it. GPUs: NVML, through nvidia-ml-py (the extra
`energy`). Where neither can be read there is no meter, and no number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")


@dataclass
class Meter:
    """Joules since it was opened.

    Attributes:
        read: returns the joules of each counter.
        wrap: at how many joules each starts anew.
    """

    read: Callable[[], Sequence[float]]
    wrap: Sequence[float]
    start: Sequence[float] = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.read()

    def joules(self) -> float:
        """Return what was used meanwhile; a counter may have started anew once."""
        now = self.read()
        used = zip(self.start, now, self.wrap, strict=True)
        return sum(b - a if b >= a else b - a + wrap for a, b, wrap in used)


def open_meter(device: Any, powercap: Path = POWERCAP) -> Meter | None:
    """Return a meter of the device of torch that runs a model; None where nothing can be read."""
    if getattr(device, "type", "cpu") == "cuda":
        return _gpu(device)
    zones = _packages(powercap)
    if not zones:
        return None
    try:
        wrap = [int((zone / "max_energy_range_uj").read_text()) / 1e6 for zone in zones]
        return Meter(lambda: [int((z / "energy_uj").read_text()) / 1e6 for z in zones], wrap)
    except (OSError, ValueError):
        return None


def device_here() -> Any:
    """Return the device of torch on which models run here."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def unreadable(powercap: Path = POWERCAP) -> str:
    """Say why there is no meter of processors."""
    if not _packages(powercap):
        return f"{powercap} has no counter of a processor"
    return f"the counters below {powercap} cannot be read by this user"


def _packages(powercap: Path) -> list[Path]:
    """Return the zones of whole processors: parts of them, and the whole machine, count twice."""
    found = []
    with contextlib.suppress(OSError):
        for zone in sorted(powercap.glob("*-rapl:*")):
            with contextlib.suppress(OSError):
                if (zone / "name").read_text().startswith("package"):
                    found.append(zone)
    return found


def _gpu(device: Any) -> Meter | None:
    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return Meter(lambda: [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3], [0.0])
    # No package, no driver, or a GPU that keeps no counter; NVML has an error of its own for each.
    except Exception:
        return None
