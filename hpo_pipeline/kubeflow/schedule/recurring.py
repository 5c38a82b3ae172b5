"""Create, replace, pause and remove recurring runs of KFP by name, with at most one active.

KFP identifies them by id, lets several share a name, and cannot change one. So a new one is created
switched off, then all others of its name are deleted, then it is switched on. A deleted one cannot
be switched on any more, which makes this safe for any number of concurrent callers. A caller that
dies in between leaves at worst none active, and the next caller repairs that.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from hpo_pipeline.errors import PipelineError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.schedule.cron import Cron
from hpo_pipeline.kubeflow.schedule.runs import active_runs, group_id
from hpo_pipeline.kubeflow.schedule.state import ScheduleState, marked, missing, named

Json = dict[str, Any]
_ATTEMPTS = 12
_FRESH = timedelta(seconds=60)  # longer than the requests of a working caller take
_DEFINITION = (
    "display_name",
    "pipeline_version_reference",
    "runtime_config",
    "service_account",
    "max_concurrency",
    "trigger",
    "no_catchup",
    "experiment_id",
)


class Change(Enum):
    """What applying a schedule changed."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    SWITCHED_ON = "was switched off, active again"


@dataclass(frozen=True)
class Schedule:
    """What runs when: `cron` in the cluster's time zone, `meaning` as the user wrote it."""

    name: str
    pipeline_id: str
    group: str  # the experiment of KFP that its runs are listed under
    cron: Cron
    meaning: str
    parameters: Mapping[str, object]
    service_account: str = ""


@dataclass(frozen=True)
class Applied:
    """What applying a schedule changed, and the active runs of the schedules it replaced."""

    change: Change
    is_paused: bool
    active: tuple[str, ...] = ()


def apply(kfp: Kfp, schedule: Schedule) -> Applied:
    """Make a schedule the only one of its name; it is active unless it was paused."""
    body = _body(kfp, schedule)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    before = named(kfp, schedule.name)
    is_paused = bool(before) and all(run.is_paused for run in before)
    settled = _settle(kfp, body, digest, is_paused=is_paused)
    if [(run.id, run.is_on) for run in before] == [(settled.id, settled.is_on)]:
        return Applied(Change.UNCHANGED, is_paused)
    if any(run.digest == digest for run in before) and not any(run.is_on for run in before):
        return Applied(Change.SWITCHED_ON, is_paused)
    if not before:
        return Applied(Change.CREATED, is_paused)
    return Applied(Change.REPLACED, is_paused, active_runs(kfp, [run.body for run in before]))


def pause(kfp: Kfp, name: str, *, paused: bool = True) -> ScheduleState:
    """Pause or resume a schedule; it stays paused when it is applied again.

    Its description says that it is paused, so the recurring run is replaced like a changed one.
    With KFP's own switch it would look as if a caller had died before switching it on.
    """
    there = named(kfp, name)
    if not there:
        raise PipelineError(missing(kfp, name))
    latest = _pick(there)
    if not latest.digest:
        kfp.post(f"/recurringruns/{latest.id}:{'disable' if paused else 'enable'}")
        return latest
    body = {key: latest.body[key] for key in _DEFINITION if latest.body.get(key)}
    body["description"] = latest.meaning
    if kfp.namespace:  # KFP for one user gives back a namespace that it does not take
        body["namespace"] = kfp.namespace
    return _settle(kfp, body, latest.digest, is_paused=paused)


def remove(kfp: Kfp, name: str) -> int:
    """Delete a schedule; a run of it that is active continues."""
    there = named(kfp, name)
    if not there:
        raise PipelineError(missing(kfp, name))
    for run in there:
        _delete(kfp, run)
    return len(there)


def _settle(kfp: Kfp, body: Json, digest: str, *, is_paused: bool) -> ScheduleState:
    """Leave exactly one recurring run of this name: the one with this digest and state."""
    name = str(body["display_name"])
    described = {**body, "description": marked(str(body["description"]), digest, is_paused)}
    is_lost = False  # whether another caller has deleted the one created here
    for attempt in range(_ATTEMPTS):
        there = named(kfp, name)
        mine = [
            run
            for run in there
            if (run.digest, run.is_paused) == (digest, is_paused) and not _is_stale(kfp, run)
        ]
        if not mine:
            if is_lost and there:  # the caller who deleted it leaves its own
                break
            kfp.post("/recurringruns", {**described, "mode": "DISABLE"})
            is_lost = True
            continue
        kept = _pick(mine)
        for run in there:
            if run.id != kept.id:
                _delete(kfp, run)
        is_right = is_paused or (_switch_on(kfp, kept) and kept.is_on)
        if is_right and len(there) == 1:
            return kept
        if attempt > 1:
            time.sleep(random.uniform(0.05, 0.2) * attempt)  # let one of the callers win
    raise PipelineError(
        f"schedule {name}: another command is changing it at the same time; run yours again if it "
        "should win"
    )


def _is_stale(kfp: Kfp, run: ScheduleState) -> bool:
    """Return whether a recurring run was off for so long that switching it on would start a run.

    KFP makes up for the latest time missed since the recurring run was created or last ran. One
    that a dead caller or the switch of the UI left off is recreated instead, and waits for its next
    time.
    """
    age = kfp.now - datetime.fromisoformat(run.created_at)
    return not run.is_on and not run.is_paused and age > _FRESH


def _switch_on(kfp: Kfp, run: ScheduleState) -> bool:
    """Switch a recurring run on; return whether it exists.

    For one that is on already this changes nothing, but makes KFP look for its ScheduledWorkflow.
    Without one (deleted with kubectl, lost with a cluster) it would count as active and never run.
    """
    try:
        kfp.post(f"/recurringruns/{run.id}:enable")
    except PipelineError as error:
        if error.status == 500 and "scheduled workflow exists" in str(error):
            _delete(kfp, run)
        elif error.status != 404:
            raise
        return False
    return True


def _pick(runs: list[ScheduleState]) -> ScheduleState:
    """Return the one that every caller chooses: an active one, else the first."""
    return min(runs, key=lambda run: (not run.is_on, run.created_at, run.id))


def _delete(kfp: Kfp, run: ScheduleState) -> None:
    # Without ORPHAN the cluster would delete the workflows of active runs as well. With it the
    # object stays until a finalizer has run, so it is switched off first.
    if run.is_on:
        _unless(kfp, (404, 500), "POST", f"/recurringruns/{run.id}:disable")
    _unless(kfp, (404,), "DELETE", f"/recurringruns/{run.id}")


def _unless(kfp: Kfp, gone: tuple[int, ...], method: str, path: str) -> None:
    """Send a request, ignoring the statuses by which KFP says that its object is gone."""
    try:
        if method == "POST":
            kfp.post(path)
        else:
            kfp.delete(path, propagation_policy="ORPHAN")
    except PipelineError as error:
        if error.status not in gone:
            raise


def _body(kfp: Kfp, schedule: Schedule) -> Json:
    body = {
        "display_name": schedule.name,
        "description": schedule.meaning,
        # without a version: each run takes the latest one
        "pipeline_version_reference": {"pipeline_id": schedule.pipeline_id},
        "runtime_config": {"parameters": dict(schedule.parameters)},
        "service_account": schedule.service_account,
        "max_concurrency": "1",
        "trigger": {"cron_schedule": {"cron": schedule.cron.six}},
        "no_catchup": True,  # KFP's default is to make up for every missed run
        "experiment_id": group_id(kfp, schedule.group),
        "namespace": kfp.namespace,
    }
    return {key: value for key, value in body.items() if value}
