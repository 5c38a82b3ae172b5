"""Where experiments run: this machine (local/), or a cluster with Katib (katib/).

An engine is what the stages of a run (flow/stages.py) know of either: it searches, runs the jobs
beside the search, and looks up earlier runs. To add one, write a folder with `engine.py` (a
function `open_engine`) and `faults.py` (a function `faults`), and add its row to `ENGINES`. Where
trials are started one by one, `loop/` has the search loop to build on. `kubernetes/` knows no
Katib.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from hpo_pipeline.trial.reporting.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from hpo_pipeline.engines.interruption import Interruption
    from hpo_pipeline.engines.kubernetes.api import Api
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.reports.terminal import Progress
    from hpo_pipeline.results.job import Job, JobOutput
    from hpo_pipeline.results.run_folder import RunFolder
    from hpo_pipeline.results.trial import Trial

ENGINES = {
    "local": "hpo_pipeline.engines.local",
    "katib": "hpo_pipeline.engines.katib",
}
"""The package of each engine, by the name that `--engine` takes."""


@dataclass(frozen=True)
class Searched:
    """What a search came to.

    Attributes:
        trials: all that have ended, by number.
        ended: why the search ended before its last trial, if it did.
        is_failed: whether the engine itself calls the search failed.
        seconds: wall time of the search over all its parts; None where the run folder has it.
    """

    trials: tuple[Trial, ...]
    ended: str | None = None
    is_failed: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class RunContext:
    """One run, as its stages and its engine are given it.

    Attributes:
        experiment: what is run.
        folder: the run folder on this machine; results are kept here with every engine.
        progress: shows the run to a person.
        source: the experiment file; None where the experiment came from elsewhere.
        registry: URI or folder of the registry, in place of that of the file.
        dataset: a prepared dataset, where there is one already.
        cluster: the connection to a cluster; None opens the one of `kube_context`.
        kube_context: a context of the kubeconfig; None for the current one.
        baseline_notes: what is to be said of the baseline of the experiment.
        log_format: `json` where trials and jobs write their logs as JSON.
        tracing: where the spans of the run go.
        needs_follower: whether search and jobs on a cluster end when nobody follows them any more;
            without it they continue.
    """

    experiment: Experiment
    folder: RunFolder
    progress: Progress
    source: Path | None = None
    registry: str | None = None
    dataset: Path | None = None
    cluster: Api | None = None
    kube_context: str | None = None
    log_format: str = "text"
    tracing: Tracing = NO_TRACING
    needs_follower: bool = False
    baseline_notes: tuple[str, ...] = ()


class Engine(Protocol):
    """Where an experiment searches and where the jobs of its other stages run.

    Both `search` and `run` are called again after whatever has happened to an earlier call: they
    find what was done before and continue from there. Every method raises Interrupted on Ctrl-C or
    SIGTERM, and BackendError where it cannot continue; results that are finished by then are kept.
    """

    def search(self, earlier: Sequence[Trial], interruption: Interruption) -> Searched:
        """Run the trials of the experiment until its budget is spent, or resume them.

        Each trial is written to `context.folder` as soon as it has ended.

        Args:
            earlier: trials of other runs to learn from; used only where the search is new.
        """

    def run(self, jobs: Sequence[Job], interruption: Interruption) -> Sequence[JobOutput]:
        """Run jobs, as many side by side as the budget allows, and return their outputs in order.

        A job that fails is an output with the reason, not an exception. The engine completes each
        command with the places (`JobPlaces`) as the job's process sees them.
        """

    def previous(self, name: str) -> Sequence[Trial] | None:
        """Return the ended trials of the last other run of an experiment, or None without one."""


def open_engine(name: str, context: RunContext) -> AbstractContextManager[Engine]:
    """Open an engine for one run; leaving the block ends what must not outlive it."""
    module = import_module(f"{ENGINES[name]}.engine")
    return cast("AbstractContextManager[Engine]", module.open_engine(context))


def known_run_id(name: str, context: RunContext) -> str | None:
    """Return the id that an engine knows of a run, as where another machine has started it."""
    find = getattr(import_module(f"{ENGINES[name]}.engine"), "known_run_id", None)
    return None if find is None else find(context)


def engine_faults(name: str, experiment: Experiment) -> list[str]:
    """Return the faults that an experiment has on one engine only."""
    found: list[str] = import_module(f"{ENGINES[name]}.faults").faults(experiment)
    return found
