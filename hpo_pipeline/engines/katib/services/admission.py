"""Permissions of the stopping service: a trial speaks for itself only, at a bounded cost.

Every pod that reaches the service can send whatever it likes. A call counts only where it names
an experiment of this namespace and a trial of that experiment, where it carries the token of
the experiment, and where it does not come from the pod of another trial (trial_pods.py). The pods
of the trials have the token from a Secret; its hash is an annotation of the Experiment, so the
service itself may read no Secrets. Calls and the questions to the API
server that they cause are limited, and nothing is remembered of names that do not exist.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from hpo_pipeline.engines.katib.names import (
    DATA_ANNOTATION,
    EXPERIMENT_LABEL,
    IDENTITY_ANNOTATION,
    TOKEN_ANNOTATION,
)
from hpo_pipeline.engines.katib.services.serving import (
    NotAllowed,
    NotNow,
    NotThere,
    OtherData,
    TooMuch,
)
from hpo_pipeline.engines.katib.services.trial_pods import TrialPods
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, TRIALS, Api, Object
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.trial.command import DATABASE_OPTION
from hpo_pipeline.trial.names import trial_number

logger = logging.getLogger(__name__)

MAX_EXPERIMENTS = 64
"""Katib gives each experiment a pod of services; more than one is known in tests only."""
MAX_NAME = 253
NOT_FOUND, FORBIDDEN = 404, 403
BESIDE = "ipv4:127.0.0.1:0"
Clock = Callable[[], float]


class Allowance:
    """A token bucket: so many at once, so many a second after that."""

    def __init__(self, burst: float, per_second: float, clock: Clock) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._left, self._at = burst, clock()

    def take(self, what: str) -> None:
        """Take one.

        Raises:
            TooMuch: none is left.
        """
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            raise TooMuch(f"too many {what}; wait a second")
        self._left -= 1


@dataclass
class _Known:
    """What the cluster says of an experiment, and its trials that have called."""

    verifier: str
    max_trials: int
    is_rendered: bool
    database: str = ""
    data: str = ""
    trials: dict[str, Allowance] = field(default_factory=dict)


class Admission:
    """Decides on each call of one namespace. Safe to use from several threads."""

    def __init__(self, api: Api, namespace: str, *, clock: Clock = time.monotonic) -> None:
        self._api, self._namespace, self._clock = api, namespace, clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._questions = Allowance(burst=100, per_second=20, clock=clock)
        self._pods = TrialPods(api, namespace, clock=clock)

    def trial(self, experiment: str, trial: str, token: str, peer: str = BESIDE) -> None:
        """Admit a call of a trial.

        Args:
            peer: who calls, as gRPC writes it.

        Raises:
            NotThere: there is no such experiment, or it has no such trial.
            NotAllowed: the token is not that of the experiment, or another trial calls.
            TooMuch: the trial, or all callers together, ask too often.
            NotNow: the cluster does not answer.
        """
        known = self.experiment(experiment)
        if not _fits(known, token):
            # The client replaces a Secret that was lost, and with it the annotation.
            known = self._ask_again(experiment, known)
            if not _fits(known, token):
                raise NotAllowed(f"{experiment}: the token is not that of this experiment")
        if trial not in known.trials:
            self._look_up(experiment, trial, known)
        with self._lock:
            known.trials[trial].take(f"calls of {trial}")
        self._pods.require(experiment, trial, peer)

    def data(self, experiment: str, fingerprint: str) -> None:
        """Bind an experiment to the data of its first trial: others must have the same.

        Raises:
            OtherData: trials of this experiment were trained on other data.
            NotThere, TooMuch, NotNow: as `trial`.
        """
        known = self.experiment(experiment)
        with self._lock:
            if not known.data:
                self._bind(experiment, fingerprint)
                known.data = fingerprint
        if known.data != fingerprint:
            raise OtherData(
                f"the data have changed since the experiment {experiment} was started, so this "
                f"trial cannot be compared with those before it; run it under another name"
            )

    def experiment(self, name: str) -> _Known:
        """Return what is known of an experiment that exists.

        Raises:
            NotThere, TooMuch, NotNow: as `trial`.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        found = self._get(EXPERIMENTS, name, f"there is no experiment {name!r}")
        with self._lock:
            if len(self._known) >= MAX_EXPERIMENTS:
                raise TooMuch(f"more than {MAX_EXPERIMENTS} experiments")
            return self._known.setdefault(name, _read(found))

    def forget(self, name: str) -> None:
        """Forget an experiment, which was deleted; another one of this name may follow."""
        with self._lock:
            self._known.pop(name, None)

    def is_rendered(self, name: str) -> bool:
        """Return whether `hpo render` or `hpo run` wrote an experiment."""
        return self.experiment(name).is_rendered

    def database(self, name: str) -> str:
        """Return where Katib's database is, from the manifest: no trial can change that.

        Raises:
            NotThere, TooMuch, NotNow: as `trial`; also NotThere where it names none.
        """
        found = self.experiment(name).database
        if not found:
            raise NotThere(f"{name}: its trials are given no database")
        return found

    def trial_object(self, experiment: str, trial: str) -> Object:
        """Return a trial of an experiment from the cluster.

        Raises:
            NotThere, TooMuch, NotNow: as `trial`.
        """
        missing = f"experiment {experiment!r} has no trial {trial!r}"
        found = self._get(TRIALS, trial, missing)
        labels = found["metadata"].get("labels") or {}
        if labels.get(EXPERIMENT_LABEL) != experiment:
            raise NotThere(missing)
        return found

    def _bind(self, experiment: str, fingerprint: str) -> None:
        change = {"metadata": {"annotations": {DATA_ANNOTATION: fingerprint}}}
        try:
            self._api.patch(EXPERIMENTS, self._namespace, experiment, change)
        except ClusterError as error:
            if error.status != FORBIDDEN:
                raise NotNow(str(error)) from error
            # A Role of an earlier version: this service remembers it as long as it runs.
            logger.warning("%s; apply manifests/base again", error)

    def _look_up(self, experiment: str, trial: str, known: _Known) -> None:
        number = trial_number(trial)
        if number is not None and number >= known.max_trials:
            known = self._ask_again(experiment, known)  # its budget may have grown
        if (number or 0) >= known.max_trials or len(known.trials) >= 2 * known.max_trials:
            raise NotThere(f"experiment {experiment!r} has only {known.max_trials} trials")
        self.trial_object(experiment, trial)
        with self._lock:
            # A trial reports at each evaluation, and looks every few seconds.
            known.trials.setdefault(trial, Allowance(100, 20, self._clock))

    def _ask_again(self, name: str, known: _Known) -> _Known:
        fresh = _read(self._get(EXPERIMENTS, name, f"there is no experiment {name!r}"))
        with self._lock:
            known.verifier, known.max_trials = fresh.verifier, fresh.max_trials
        return known

    def _get(self, kind: object, name: str, missing: str) -> Object:
        if not name or len(name) > MAX_NAME or "/" in name:
            raise NotThere(missing[:400])
        with self._lock:
            self._questions.take("calls of unknown names")
        try:
            return self._api.get(kind, self._namespace, name)  # type: ignore[arg-type]
        except ClusterError as error:
            if error.status == NOT_FOUND:
                raise NotThere(missing) from error
            raise NotNow(str(error)) from error


def _fits(known: _Known, token: str) -> bool:
    """Return whether a token is right; an experiment rendered without one takes any."""
    return not known.verifier or hmac.compare_digest(
        known.verifier, hashlib.sha256(token.encode()).hexdigest()
    )


def _read(item: Object) -> _Known:
    notes = item["metadata"].get("annotations") or {}
    return _Known(
        verifier=str(notes.get(TOKEN_ANNOTATION, "")),
        max_trials=int((item.get("spec") or {}).get("maxTrialCount") or 100_000),
        is_rendered=IDENTITY_ANNOTATION in notes,
        database=_database(item),
        data=str(notes.get(DATA_ANNOTATION, "")),
    )


def _database(item: Object) -> str:
    """Return the address of Katib's database in the command of an experiment's trials."""
    template = (item.get("spec") or {}).get("trialTemplate") or {}
    job = (template.get("trialSpec") or {}).get("spec") or {}
    containers = ((job.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    arguments = [str(argument) for argument in containers[0].get("args") or ()]
    return dict(pairwise(arguments)).get(DATABASE_OPTION, "")
