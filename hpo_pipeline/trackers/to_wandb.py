"""Weights & Biases: a group of runs, one for each trial, sent whole when the trial has ended.

A run of W&B only grows: half of a trial that is rerun could not be taken back. The credential is
WANDB_API_KEY, or what `wandb login` wrote; WANDB_BASE_URL, WANDB_ENTITY, WANDB_PROJECT and
WANDB_MODE are the client's own. The id of a run is made of our run and the trial: what comes twice
goes to the same one. Only functions import the client.
"""

from __future__ import annotations

import importlib.util
import netrc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hpo_pipeline.errors import TrackingError
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.server.address import Address
from hpo_pipeline.registry.server.credentials import refusal
from hpo_pipeline.results.outcome import Winner
from hpo_pipeline.results.run_paths import RunPaths
from hpo_pipeline.trackers.interface import CURVE, Ledger, RunEntry, TrackedRun, TrialEntry

SERVER = "https://api.wandb.ai"
WITHOUT_SERVER = ("offline", "dryrun", "disabled")
SECONDS = 30.0
"""How long the client may try to start a run."""


def faults(environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the package or the settings."""
    if importlib.util.find_spec("wandb") is None:
        return ["needs the package wandb: pip install 'hpo-pipeline[wandb]'"]
    if environ.get("WANDB_MODE") in WITHOUT_SERVER:
        return []
    address = Address(environ.get("WANDB_BASE_URL") or SERVER, {})
    if not _has_key(address, environ):
        return ["set WANDB_API_KEY, run `wandb login`, or set WANDB_MODE=offline"]
    reason = refusal(address, Access(environ, is_named=True))
    return [f"{address.url}: there is an API key; {reason}"] if reason else []


def open_tracker(run: TrackedRun, ledger: Ledger) -> WandbTracker:
    """Open the client; it connects with the first trial."""
    return WandbTracker(run, ledger)


class WandbTracker:
    """The `Tracker` of Weights & Biases."""

    def __init__(self, run: TrackedRun, ledger: Ledger) -> None:
        self._run, self._ledger = run, ledger
        self._opened_at: dict[str, float] = {}

    def trial(self, entry: TrialEntry) -> None:
        ended = entry.ended
        if ended is None:
            return
        if entry.begins_anew:
            self._count_up(entry.name)
        kind = "replicate" if entry.is_replicate else "trial"
        config = {**entry.assignments, "trial": ended.number}
        with self._opened(
            entry.name, job_type=kind, config=config, tags=[ended.state.value]
        ) as run:
            for point in ended.curve:
                values = {CURVE + name: value for name, value in point.metrics.items()}
                run.log(values, step=point.training_step)
            state = {"state": ended.state.value, "reason": ended.reason or ""}
            run.summary.update({**ended.metrics, **state})

    def run(self, entry: RunEntry) -> None:
        won, state = entry.state.winner, entry.state.state or "running"
        mark = f"{state} {won}"
        if won is None or self._ledger.get("run") == mark:
            return
        before = self._ledger.get("winner")
        if before and before != won.name:
            with self._opened(before) as run:
                run.summary.update({"winner": False})
        with self._opened(won.name) as run:
            tested = {f"test_{name}": value for name, value in won.test.items()}
            run.summary.update({**tested, "winner": True, "registered": won.registered or ""})
            self._keep_model(run, won)
        self._ledger.set("winner", won.name)
        self._ledger.set("run", mark)

    def close(self) -> None:
        """Each run was finished when it was sent."""

    def _keep_model(self, run: Any, won: Winner) -> None:
        import wandb

        model = RunPaths(self._run.folder).model
        mark = f"{won.run or won.name} {won.model}"
        if not won.model or not model.is_dir() or self._ledger.get("model") == mark:
            return
        artefact = wandb.Artifact(f"{self._run.experiment.name}-model", type="model")
        artefact.add_dir(str(model))
        run.log_artifact(artefact)
        self._ledger.set("model", mark)

    def _count_up(self, name: str) -> None:
        self._ledger.set(f"count {name}", str(int(self._ledger.get(f"count {name}") or 0) + 1))

    @contextmanager
    def _opened(self, name: str, **content: Any) -> Iterator[Any]:
        import wandb

        environ, experiment = self._run.environ, self._run.experiment
        count = int(self._ledger.get(f"count {name}") or 0)
        # Offline, the client names a folder by the second: the same again would write over it.
        time.sleep(max(0.0, self._opened_at.get(name, 0.0) + 1.0 - time.monotonic()))
        self._opened_at[name] = time.monotonic()
        settings = wandb.Settings(
            # Not from a file `wandb/settings` of the folder we are in: it is not the user's word.
            base_url=environ.get("WANDB_BASE_URL") or SERVER,
            console="off",
            disable_code=True,
            disable_git=True,
            init_timeout=SECONDS,
            silent=True,
            x_disable_stats=True,
        )
        try:
            run = wandb.init(
                project=environ.get("WANDB_PROJECT") or experiment.name,
                group=f"{experiment.name}-{self._run.run_id[:8]}",
                id=f"{self._run.run_id[:12]}-{name}" + (f"-{count}" if count else ""),
                name=name,
                resume="allow",
                reinit="create_new",
                dir=str(RunPaths(self._run.folder).tracking),
                settings=settings,
                **content,
            )
            yield run
            run.finish()
        except (wandb.Error, OSError) as error:
            raise TrackingError(f"W&B: {str(error).splitlines()[0][:300]}") from error


def _has_key(address: Address, environ: Mapping[str, str]) -> bool:
    if environ.get("WANDB_API_KEY"):
        return True
    file = Path(environ.get("NETRC") or Path(environ.get("HOME") or Path.home()) / ".netrc")
    try:
        return (
            netrc.netrc(str(file)).authenticators(urlsplit(address.url).hostname or "") is not None
        )
    except (OSError, netrc.NetrcParseError):
        return False
