"""What the page asks of a run for a person: checked here, left in its folder, answered by the run.

A run that goes on answers within a second. For one that has ended the request waits in its folder,
and the person is told the command that resumes it.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace

from hpo_pipeline.experiment.configuration import read_configuration
from hpo_pipeline.experiment.space import render
from hpo_pipeline.monitoring.cached_run import RunView
from hpo_pipeline.results.files import validated_or_none
from hpo_pipeline.results.requests import Request, answers, ask

MOST_BYTES = 100_000
PATIENCE_SECONDS = 3.0
"""How long a person waits for the answer of a run; it looks for requests twice a second."""


class Refused(Exception):
    """What is asked cannot be done, and why."""


def wanted(content: bytes) -> Request:
    """Return the request that the page has sent.

    Raises:
        Refused: it is none.
    """
    try:
        found = validated_or_none(Request, json.loads(content))
    except (ValueError, RecursionError):
        found = None
    if found is None:
        raise Refused("this is not a request; reload the page")
    return replace(found, id="")


def ask_run(view: RunView, request: Request) -> str:
    """Ask a run for something, and return what it said, or what to do next.

    Raises:
        Refused: it cannot be done.
    """
    if not view.takes_requests:
        raise Refused("only runs whose trials run on this machine (--engine local) take requests")
    request = _checked(view, request)
    is_running = view.folder.is_running()
    if request.kind == "stop" and not is_running:
        raise Refused("nothing runs there")
    try:
        name = ask(view.folder.requests, request)
    except (OSError, ValueError) as error:
        raise Refused(str(error)) from error
    if is_running:
        return _answer(view, name) or "asked; the run has not answered yet"
    return f"noted; this starts it: {resuming(view)}"


def resuming(view: RunView) -> str:
    """Return the command that resumes a run, whatever file it was started from."""
    folder = view.folder
    return shlex.join(["hpo", "run", str(folder.experiment_file), "--run", str(folder.path)])


def _checked(view: RunView, request: Request) -> Request:
    """Return the request as the run will read it.

    Raises:
        Refused: the run would refuse it.
    """
    states = {trial.name: trial.state for trial in view.trials}
    if request.kind == "stop" and (request.trial not in states or states[request.trial].is_final):
        raise Refused("this trial does not run, or not any more")
    if request.kind == "again" and (
        request.trial not in states or not states[request.trial].is_final
    ):
        raise Refused("this trial has not ended")
    if request.kind != "stop" and view.experiment.problem.population_size is not None:
        raise Refused("a population has a fixed number of trials; change budget.trials of the file")
    if request.kind != "next":
        return request
    try:
        values = read_configuration(view.experiment.problem, request.values)
    except ValueError as error:
        raise Refused(str(error)) from error
    return replace(request, values={name: render(value) for name, value in values.items()})


def _answer(view: RunView, name: str) -> str | None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        for found in reversed(answers(view.folder.requests)):
            if found.id == name:
                return found.said
        time.sleep(0.1)
    return None
