"""The suggestion service: Katib asks it which configurations to try next.

Between requests it keeps the study; after a restart it is built again from the trials of the
next request, so that nothing needs a disk. A request that is repeated, since its reply got lost,
gets the same reply.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

import grpc

from hpo_pipeline.engines.katib.names import STOPPING_PORT, SUGGESTION_PORT
from hpo_pipeline.engines.katib.services import convert
from hpo_pipeline.engines.katib.services.serving import (
    NotNow,
    Served,
    ServiceLog,
    guarded,
    serve,
)
from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.space import Value, render
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.search.study import Known, Study
from hpo_pipeline.trial.names import LOG_FORMAT_KEY, NO_PARENT, PARENT, RUN_KEY
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc, live_pb2, live_pb2_grpc

logger = logging.getLogger(__name__)

ASK_TIMEOUT = 2.0
MAX_SEARCHES = 8
"""Searches kept in memory; another one is rebuilt from its trials when it is asked for again."""
MAX_REQUEST = 10_000

IsOver = Callable[[str], str | None]
"""Returns why the search of an experiment is over, or None."""


class SearchSession:
    """The search of one experiment, from request to request."""

    def __init__(self, problem: Problem, earlier: Sequence[Trial]) -> None:
        self._problem = problem
        self._earlier = earlier
        self._study: Study | None = None
        self._missing: set[int] = set()

    def known(self, messages: Sequence[wire.Trial]) -> dict[int, Known]:
        """Return the trials of a request that are those of this search."""
        return convert.known_trials(self._problem, messages, proposed=self._proposed)

    def suggest(
        self, known: dict[int, Known], first: int, count: int
    ) -> list[tuple[str, dict[str, str]]]:
        """Return names and parameters of the trials from number `first` on, `count` of them."""
        study = self._study
        if study is None or study.count() < first:
            study = Study.rebuilt(self._problem, known, asked=first, earlier=self._earlier)
            self._study = study
        else:
            self._observe(study, known, first)
        for number in range(first, first + count):
            if number >= study.count():
                study.ask()
        return [self._reply(study, number) for number in range(first, first + count)]

    def _proposed(self, number: int) -> dict[str, Value] | None:
        study = self._study
        return study.parameters(number) if study and study.knows(number) else None

    def _observe(self, study: Study, known: dict[int, Known], first: int) -> None:
        """Tell the study how trials ended.

        Katib leaves out trials that ended without metrics. One that is left out twice is not
        just about to be created.
        """
        for number, here in known.items():
            if here.trial.state.is_final and study.knows(number):
                study.tell(here.trial)
        missing = {number for number in range(first) if number not in known}
        for number in missing & self._missing:
            study.tell(Trial("", number, TrialState.FAILED, {}))
        self._missing = missing

    def _reply(self, study: Study, number: int) -> tuple[str, dict[str, str]]:
        texts = {name: render(value) for name, value in study.parameters(number).items()}
        if self._problem.population_size is not None:
            parent = study.asked(number).parent
            texts[PARENT] = NO_PARENT if parent is None else study.name(parent)
        return study.name(number), texts


class SuggestionService(katib_pb2_grpc.SuggestionServicer):
    """Katib's `Suggestion` over our search algorithms."""

    def __init__(self, is_over: IsOver = lambda name: None) -> None:
        self._is_over = is_over
        self._lock = threading.Lock()
        self._searches: dict[bytes, SearchSession] = {}

    @guarded
    def ValidateAlgorithmSettings(
        self, request: wire.ValidateAlgorithmSettingsRequest, context: grpc.ServicerContext
    ) -> wire.ValidateAlgorithmSettingsReply:
        """Refuse what the algorithm cannot serve, with the reason."""
        convert.search_problem(request.experiment)
        return wire.ValidateAlgorithmSettingsReply()

    @guarded
    def GetSuggestions(
        self, request: wire.GetSuggestionsRequest, context: grpc.ServicerContext
    ) -> wire.GetSuggestionsReply:
        """Return exactly as many configurations as were asked for."""
        reason = self._is_over(request.experiment.name)
        if reason is not None:
            raise NotNow(f"no more trials are proposed: {reason}")
        problem, earlier = convert.search_problem(request.experiment)
        count = request.current_request_number
        if not 0 <= count <= MAX_REQUEST:
            raise ValueError(f"current_request_number must be 0 to {MAX_REQUEST}, got {count}")
        with self._lock:
            search = self._session(_key(request.experiment), problem, earlier)
            known = search.known(request.trials)
            found = search.suggest(known, _first(request, known), count)
        reply = wire.GetSuggestionsReply()
        for name, texts in found:
            pairs = [wire.ParameterAssignment(name=n, value=v) for n, v in texts.items()]
            reply.parameter_assignments.add(trial_name=name, assignments=pairs)
        return reply

    def _session(self, key: bytes, problem: Problem, earlier: Sequence[Trial]) -> SearchSession:
        """Return the search of an experiment; of many, those used last are kept."""
        found = self._searches.pop(key, None) or SearchSession(problem, earlier)
        self._searches[key] = found
        while len(self._searches) > MAX_SEARCHES:
            del self._searches[next(iter(self._searches))]
        return found


def _first(request: wire.GetSuggestionsRequest, known: Mapping[int, Known]) -> int:
    """Return the number of the first trial that a request asks for.

    Katib's controller sends the total with this request included; other callers may leave it
    out, and mean the trials after those that they list.
    """
    total, count = request.total_request_number, request.current_request_number
    return total - count if total >= count else max(known, default=-1) + 1


def _key(experiment: wire.Experiment) -> bytes:
    """Return what tells searches apart; the number of trials may change on the way."""
    copy = wire.Experiment()
    copy.CopyFrom(experiment)
    copy.spec.max_trial_count = copy.spec.parallel_trial_count = 0
    return copy.SerializeToString(deterministic=True)


START_PATIENCE = 10.0
_QUICK = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.min_reconnect_backoff_ms", 200))


class StoppingBeside:
    """Asks the stopping service of the same pod whether the search is over, if there is one.

    Args:
        serves: is called with what the pod works for, as the service knows it.
    """

    def __init__(
        self,
        address: str = f"127.0.0.1:{STOPPING_PORT}",
        *,
        serves: Callable[[Served], None] = lambda served: None,
    ) -> None:
        self._channel = grpc.insecure_channel(address, options=_QUICK)
        self._stub = live_pb2_grpc.StoppingStub(self._channel)
        self._serves = serves

    def await_start(self, seconds: float = START_PATIENCE) -> bool:
        """Wait for the service to answer; return whether it does.

        The pod is ready when the suggestion service is. Katib then asks both, and where one
        does not answer yet, it takes its time before it asks again.
        """
        try:
            grpc.channel_ready_future(self._channel).result(timeout=seconds)
        except grpc.FutureTimeoutError:
            return False
        return True

    def __call__(self, experiment: str) -> str | None:
        """Return why the search is over, or None."""
        request = live_pb2.IsOverRequest(experiment_name=experiment)
        try:
            decision, call = self._stub.IsOver.with_call(request, timeout=ASK_TIMEOUT)
        except grpc.RpcError:
            return None
        told = dict(call.trailing_metadata() or ())
        self._serves(Served(experiment, told.get(RUN_KEY), told.get(LOG_FORMAT_KEY)))
        return decision.reason if decision.stop else None


def main() -> None:
    """Serve on Katib's port for suggestions."""
    beside = StoppingBeside(serves=ServiceLog().serves)
    service = SuggestionService(beside)

    def add(server: grpc.Server) -> None:
        katib_pb2_grpc.add_SuggestionServicer_to_server(service, server)

    beside.await_start()
    # One at a time: a search is a sequence, and Katib sends one request at a time anyway.
    serve(f"[::]:{SUGGESTION_PORT}", add, workers=4)


if __name__ == "__main__":
    main()
