"""What is known of a run as a whole: the content of `run.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hpo_pipeline.results.files import PlainName
from hpo_pipeline.results.outcome import GateResult, RegistrationResult, Selected, Winner

RENAMED = {"chosen": "selected", "fingerprint": "data_fingerprint"}
"""Entries that earlier versions wrote under another name."""


@dataclass(frozen=True)
class RunState:
    """One run, from its start to its registration; each stage fills its part.

    Attributes:
        run_id: a random name of the run, the same for all its parts.
        state: running, interrupted, succeeded or failed; None before it has started.
        reason: why it failed or ended early.
        seconds: wall time of the search so far, over all parts of the run.
        ended: why the search ended before its last trial.
        search_failed: whether the engine calls the search failed.
        dataset: path of the prepared dataset on this machine.
        data_fingerprint: hash of the prepared data, which must stay the same for all trials.
        data_notes: sentences on what was left out of the data, merged or cut.
        added_trials: how many trials people have added to the budget of the file.
        baseline_notes: sentences on the baseline: defaults that were moved, or why there is none.
        selected: the winner, and the run whose model it is.
        winner: the winner with its metrics, as it is shown.
        gate: the winner on the test rows, and the decision about the champion.
        kept: names of the runs whose models were kept; None before any were removed.
        registered: the version that the winner became.
    """

    run_id: str | None = None
    state: str | None = None
    reason: str | None = None
    seconds: float = 0.0
    ended: str | None = None
    search_failed: bool = False
    dataset: str | None = None
    data_fingerprint: str | None = None
    data_notes: tuple[str, ...] = ()
    added_trials: int = 0
    baseline_notes: tuple[str, ...] = ()
    selected: Selected | None = None
    winner: Winner | None = None
    gate: GateResult | None = None
    kept: tuple[PlainName, ...] | None = None
    registered: RegistrationResult | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = dataclasses.asdict(self)
        return {**data, "gate": self.gate.to_json() if self.gate else None}

    @classmethod
    def known(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries that this version knows, under their names of today."""
        names = {field.name for field in dataclasses.fields(cls)}
        found = {RENAMED.get(name, name): value for name, value in data.items()}
        gate = found.get("gate")
        if isinstance(gate, dict) and "evaluation" not in gate:  # it was flat before
            measured = {k: gate[k] for k in ("metrics", "labels", "confusion") if k in gate}
            found["gate"] = {**gate, "evaluation": measured}
        return {name: value for name, value in found.items() if name in names}

    def with_changes(self, **changes: Any) -> Self:
        """Return the state with some entries replaced."""
        return dataclasses.replace(self, **changes)
