"""The engine of a cluster: the experiment is given to Katib and followed until it ends.

It applies under the experiment's own name and adopts what is there, so that the same command,
run again after whatever happened, comes back to the same experiment. What the services behind
our algorithms decide is not known here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

from hpo_pipeline.engines.interruption import Interrupted, Interruption
from hpo_pipeline.engines.katib import manifest, status
from hpo_pipeline.engines.katib.follow_mark import Renewal, new_mark
from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL, STOP_ANNOTATION
from hpo_pipeline.engines.katib.reattachment import require_same, stop_reason
from hpo_pipeline.engines.katib.submission import restore_token, submit
from hpo_pipeline.engines.katib.trial_template import EXPERIMENT_POD_LABEL, is_stock
from hpo_pipeline.engines.katib.view import ExperimentView
from hpo_pipeline.engines.katib.waiting import Waiting
from hpo_pipeline.engines.kubernetes.api import (
    EXPERIMENTS,
    JOBS,
    PODS,
    TRIALS,
    Api,
    Kind,
    Object,
)
from hpo_pipeline.engines.kubernetes.diagnosis import created
from hpo_pipeline.engines.kubernetes.events import Events
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.engines.kubernetes.watch import Feed
from hpo_pipeline.errors import BackendError, ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.terminal import Progress
from hpo_pipeline.results.trial import Trial, TrialState

logger = logging.getLogger(__name__)

TICK = 0.5
SHOW_SECONDS = 1.0
MAX_LOGS = 32
"""Logs that are followed at a time; beyond, curves are read when a trial has ended."""
SETTLE_SECONDS = 20.0
LOOKS = (0.0, 3.0, 3.0)
"""Pauses before the jobs of killed trials are deleted, once and then whenever they came back."""
CONFLICT, NOT_FOUND = 409, 404


class RemoteExperiment:
    """One experiment on a cluster.

    `finished` is called with each trial that has ended, with its curve; `bound` before that, with
    the fingerprint of the data that the trials are trained on. `needs_follower` marks the
    experiment, so that it ends when nobody follows it any more. `mark` puts the id of the run on
    what is created; `notes` are annotations of the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        api: Api,
        *,
        progress: Progress,
        finished: Callable[[Trial], None] = lambda trial: None,
        bound: Callable[[str], None] = lambda fingerprint: None,
        needs_follower: bool = False,
        mark: Callable[[Object], Object] = lambda body: body,
        notes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._experiment = experiment
        self._api = api
        self._progress = progress
        self._finished = finished
        self._bound = bound
        self._namespace = experiment.cluster.namespace
        self._events = Events()
        self._view = ExperimentView(experiment, api)
        self._told: set[str] = set()
        self._said: set[str] = set()
        self._following: set[str] = set()
        self._is_gone = False
        self._is_bound = False
        self._waiting = Waiting(self._view, api, self._namespace)
        self._needs_follower = needs_follower
        self._mark = mark
        self._notes = notes
        self._renewal = Renewal(api, self._namespace, experiment.name)

    def apply(self, earlier: Sequence[Trial] = ()) -> bool:
        """Create the experiment, or adopt the one of this name; return whether it was created.

        Raises:
            BackendError: there is another experiment of this name.
            ClusterError: the cluster refuses it.
            ExperimentError: it cannot run on a cluster.
        """
        followed = new_mark(datetime.now(UTC)) if self._needs_follower else {}
        notes = {**self._notes, **followed}
        if submit(self._api, self._experiment, earlier, notes, mark=self._mark):
            return True
        found = self._api.get(EXPERIMENTS, self._namespace, self._experiment.name)
        self._adopt(found)
        restore_token(self._api, self._experiment, found)
        return False

    def follow(self, interruption: Interruption) -> tuple[list[Trial], str, str]:
        """Follow the experiment until it ends, and then stop what still runs.

        Returns:
            all trials, the state (succeeded or failed), and what Katib says about the end.

        Raises:
            BackendError: the experiment was deleted, or the cluster refuses to show it.
            Interrupted: by Ctrl-C or SIGTERM; the experiment continues.
        """
        name = self._experiment.name
        feeds = [
            self._feed(EXPERIMENTS, "", self._on_experiment),
            self._feed(TRIALS, f"{EXPERIMENT_LABEL}={name}", self._on_trial),
            self._feed(PODS, f"{EXPERIMENT_POD_LABEL}={name}", self._on_pod),
        ]
        self._view.are_pods_followed = True
        budget = self._experiment.budget
        self._progress.started(manifest.max_trials(self._experiment), budget.parallel)
        for feed in feeds:
            feed.start()
        try:
            state, said = self._until_ended(interruption)
        except Interrupted as error:
            raise error.with_advice(
                f"the experiment continues in the cluster\n"
                f"  hpo attach {name} --namespace {self._namespace}  reattaches to it\n"
                f"  hpo stop {name} --namespace {self._namespace}    stops it and keeps results"
            ) from error
        finally:
            for feed in feeds:
                feed.stop()
        self._settle()
        self._stop_rest()
        self._show()
        return self._view.trials(), state, said

    def read(self) -> tuple[list[Trial], str, str]:
        """Read the experiment as it is now, once.

        Returns:
            the trials, the state (running, succeeded or failed), and what Katib says.
        """
        name = self._experiment.name
        self._view.item = self._api.get(EXPERIMENTS, self._namespace, name)
        self._view.read_trials()
        for trial in status.states_of(self._experiment, self._view.items.values()):
            if trial.state in (TrialState.RUNNING, TrialState.FAILED):
                self._view.read_end(trial)
        state, said = status.ended(self._view.item) or ("running", "")
        return self._view.trials(), state, said

    def seconds(self) -> float:
        """Return how long the experiment has run, or ran."""
        return self._view.seconds()

    def stop(self, reason: str) -> None:
        """Ask the experiment to end early, keeping the results that running trials have.

        With our services it ends when its trials have; Katib's own can only be cut off.
        """
        name = self._experiment.name
        note = {"metadata": {"annotations": {STOP_ANNOTATION: reason}}}
        self._api.patch(EXPERIMENTS, self._namespace, name, note)
        if is_stock(self._experiment):
            self._end_now(f"stopped: {reason}")

    def _adopt(self, found: Object) -> None:
        name = self._experiment.name
        require_same(self._experiment, found)
        self._renewal.renew(found, add=self._needs_follower)
        if reason := stop_reason(found):
            self._progress.say(f"{name} is about to end ({reason}); its results so far count")
        wanted = manifest.max_trials(self._experiment)
        if wanted != found["spec"].get("maxTrialCount") and status.ended(found) is None:
            change = {"spec": {"maxTrialCount": wanted}}
            self._api.patch(EXPERIMENTS, self._namespace, name, change)
            self._progress.say(f"the experiment now continues to {wanted} trials")

    def _feed(self, kind: Kind, labels: str, take: Callable[[str, Object], None]) -> Feed:
        return self._events.feed(self._api, kind, self._namespace, labels, take)

    def _until_ended(self, interruption: Interruption) -> tuple[str, str]:
        shown = 0.0
        while True:
            interruption.check()
            self._events.take(TICK)
            if self._is_gone:
                raise BackendError(f"{self._experiment.name}: the experiment was deleted")
            if self._view.item:
                self._renewal.renew(self._view.item)
            if time.monotonic() - shown > SHOW_SECONDS:
                shown = time.monotonic()
                self._show()
                self._say_what_waits()
                self._end_if_hopeless()
            ended = status.ended(self._view.item) if self._view.item else None
            if ended is not None:
                return ended

    def _on_experiment(self, event: str, item: Object) -> None:
        if item["metadata"]["name"] != self._experiment.name:
            return
        self._view.item = item
        self._is_gone = event == "DELETED"

    def _on_trial(self, event: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if event == "DELETED":
            self._view.items.pop(name, None)
            return
        self._view.items[name] = item
        if self._view.has_settled(item):
            self._tell(name)

    def _on_pod(self, event: str, item: Object) -> None:
        trial = item["metadata"].get("labels", {}).get(JOB_LABEL, "")
        if not trial or event == "DELETED":
            return
        known = self._view.pods.get(trial, item)
        if created(known) > created(item):
            return  # the last word of a pod that was made anew since
        self._view.pods[trial] = item
        is_running = (item.get("status") or {}).get("phase") == "Running"
        if is_running and trial not in self._following and len(self._following) < MAX_LOGS:
            self._following.add(trial)
            threading.Thread(target=self._follow_log, args=(trial, item), daemon=True).start()

    def _say_what_waits(self) -> None:
        """Say once why a pod does not start, or is not even made."""
        for trial, cause in self._waiting.overdue(datetime.now(UTC)).items():
            if trial not in self._said:
                self._said.add(trial)
                self._progress.say(f"{trial} does not start: {cause}")

    def _follow_log(self, trial: str, pod: Object) -> None:
        try:
            for line in self._view.log(pod, follow=True):
                self._events.put(partial(self._on_line, trial, line))
        except ClusterError as error:
            logger.debug("%s: %s", trial, error)
        self._events.put(lambda: self._following.discard(trial))

    def _on_line(self, trial: str, line: str) -> None:
        self._view.lines.setdefault(trial, []).append(line)

    def _tell(self, name: str) -> None:
        """Tell the end of a trial once, with what its log says."""
        if name in self._told:
            return
        self._told.add(name)
        self._bind()
        found = status.states_of(self._experiment, [self._view.items[name]])
        self._view.read_end(found[0])
        listed = {trial.name: trial for trial in self._view.trials()}
        self._finished(listed[name])

    def _bind(self) -> None:
        """Tell once which data the trials are trained on; the stopping service knows it first."""
        if self._is_bound:
            return
        if self._view.data() is None:  # the experiment may have been seen before its first trial
            with contextlib.suppress(ClusterError):
                self._view.item = self._api.get(EXPERIMENTS, self._namespace, self._experiment.name)
        data = self._view.data()
        self._is_bound = True
        if data is not None:
            self._bound(data)

    def _settle(self) -> None:
        """Wait a little for the last trials: Katib may end the experiment before their status."""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            self._view.read_trials()
            is_ours = not is_stock(self._experiment)
            if all(map(self._view.has_settled, self._view.items.values())):
                break
            if time.monotonic() > end or not is_ours:
                break
            time.sleep(TICK)
        for name, item in self._view.items.items():
            if status.is_complete(item):
                self._tell(name)

    def _stop_rest(self) -> None:
        """End trials that Katib leaves running after the experiment has ended."""
        killed = []
        # Marked first, for Katib makes a new job for a trial that has not ended.
        for name, item in self._view.items.items():
            if status.is_complete(item):
                continue
            self._progress.say(f"{name} has not ended with the experiment and is ended now")
            cause = self._waiting.cause(name)
            change = {"status": status.killed_status(item, datetime.now(UTC), cause)}
            try:
                self._api.patch(TRIALS, self._namespace, name, change, subresource="status")
                killed.append(name)
            except ClusterError as error:
                self._progress.say(f"{name}: could not be ended ({error})")
        # Katib may make a job anew until it has seen the mark.
        for pause in LOOKS if killed else ():
            time.sleep(pause)
            for name in killed:
                with contextlib.suppress(ClusterError):
                    self._api.delete(JOBS, self._namespace, name)
        self._view.read_trials()

    def _end_now(self, reason: str, *, failed: bool = False) -> None:
        """End the experiment without waiting for its trials."""
        name = self._experiment.name
        found = self._api.get(EXPERIMENTS, self._namespace, name)
        if status.ended(found) is None:
            change = {
                "status": status.ended_status(found, reason, datetime.now(UTC), failed=failed)
            }
            self._api.patch(EXPERIMENTS, self._namespace, name, change, subresource="status")
        self._view.read_trials()
        self._stop_rest()

    def _end_if_hopeless(self) -> None:
        """End the experiment where no trial starts, and none will."""
        cause = self._waiting.in_vain(datetime.now(UTC))
        if cause is not None:
            self._end_now(cause, failed=True)

    def _show(self) -> None:
        self._progress.update(self._view.trials(), seconds=self._view.seconds())
