"""The parameters of a run, converted from the texts of a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo_pipeline.errors import ScheduleError
from hpo_pipeline.kubeflow.compiled import Parameter


def split_settings(entries: Sequence[str]) -> dict[str, str]:
    """Read the NAME=VALUE of `--set`."""
    values = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise ScheduleError(f"--set: must be NAME=VALUE, got {entry!r}")
        values[key] = value
    return values


def parameter_values(
    given: Mapping[str, str], takes: Mapping[str, Parameter], pipeline: str
) -> dict[str, object]:
    """Convert the parameters that are given.

    Raises:
        ScheduleError: with every fault: unknown, required, of the wrong type.
    """
    faults = [f"{key}: unknown" for key in given if key not in takes]
    faults += [f"{key}: required" for key in takes if takes[key].is_required and key not in given]
    values: dict[str, object] = {}
    for key in takes:
        if key in given:
            try:
                values[key] = takes[key].read(key, given[key])
            except ScheduleError as error:
                faults.append(str(error).removeprefix("parameter "))
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        allowed = ", ".join(f"{key} ({kind})" for key, kind in takes.items()) or "nothing"
        raise ScheduleError(f"parameters of pipeline {pipeline}:{lines}\nit takes {allowed}")
    return values
