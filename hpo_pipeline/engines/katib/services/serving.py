"""Serving over gRPC: the server, health for Katib's probe, errors as status codes.

Errors become status codes in one place, here. What a person can correct is INVALID_ARGUMENT, on
which Katib ends the experiment with the reason. What nobody expected is INTERNAL, after which Katib
tries again. UNKNOWN, which gRPC gives by itself, would end the experiment too.
"""

from __future__ import annotations

import functools
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hpo_pipeline.trial.reporting.process_log import JSON, JsonFormatter, configure

logger = logging.getLogger(__name__)

HEALTH_SERVICE = "manager.v1beta1.Suggestion"
"""What Katib's probe asks for, though its service is api.v1.beta1.Suggestion."""
GRACE = 5.0
MAX_CALLS = 128
"""Calls at a time, waiting ones included; further ones are refused (RESOURCE_EXHAUSTED)."""
MAX_DETAILS = 2_000
"""Characters of an error: gRPC sends it in a header of at most 8 kB."""

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


class NotNow(Exception):
    """There is nothing to answer at present; the caller should ask again later."""


class NotThere(Exception):
    """The call names an experiment or a trial that does not exist."""


class NotAllowed(Exception):
    """The caller may not say this."""


class OtherData(Exception):
    """The trial would be trained on other data than the trials before it."""


class TooMuch(Exception):
    """The caller asks too often, or for too much."""


_CODES: dict[type[Exception], grpc.StatusCode] = {
    ValueError: grpc.StatusCode.INVALID_ARGUMENT,
    RecursionError: grpc.StatusCode.INVALID_ARGUMENT,  # a message that is nested too deep
    NotNow: grpc.StatusCode.UNAVAILABLE,
    NotThere: grpc.StatusCode.NOT_FOUND,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    OtherData: grpc.StatusCode.FAILED_PRECONDITION,
    TooMuch: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass(frozen=True)
class Served:
    """What a pod of services works for.

    Attributes:
        experiment: its name.
        run_id: the id of the run that made it; None where it was rendered.
        log_format: `json` where the run logs as JSON.
    """

    experiment: str
    run_id: str | None = None
    log_format: str | None = None


class ServiceLog:
    """The log of a service, which learns whose run it serves when it runs already.

    A variable in its container would not do: Katib gives that of a stopping service none.
    """

    def __init__(self) -> None:
        configure("%(asctime)s %(message)s")
        logging.getLogger().setLevel(logging.INFO)
        self._served: Served | None = None

    def serves(self, served: Served) -> None:
        """Say once which run is served; from then on, lines of JSON have its id."""
        if served == self._served or (served.run_id, served.log_format) == (None, None):
            return
        self._served = served
        formatters = [handler.formatter for handler in logging.getLogger().handlers]
        if served.log_format == JSON or any(isinstance(f, JsonFormatter) for f in formatters):
            content = {"run": served.run_id or "", "experiment": served.experiment}
            for handler in logging.getLogger().handlers:
                handler.setFormatter(JsonFormatter(**content))
        logger.info("serving %s, run %s", served.experiment, served.run_id or "unknown")


def guarded(method: MethodT) -> MethodT:
    """Make a method of a servicer answer with a status code where it raises."""

    @functools.wraps(method)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        # The boundary: whatever else went wrong must not be UNKNOWN, see above.
        except Exception as error:
            code = next((c for kind, c in _CODES.items() if isinstance(error, kind)), None)
            if code is None:
                logger.exception("%s failed", method.__name__)
                context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
            context.abort(code, str(error)[:MAX_DETAILS])

    return answer  # type: ignore[return-value]


def start(address: str, add: Callable[[grpc.Server], None], *, workers: int) -> tuple[Any, int]:
    """Start a server with the services that `add` adds; return it and its port."""
    pool = ThreadPoolExecutor(max_workers=workers)
    server = grpc.server(pool, maximum_concurrent_rpcs=MAX_CALLS)
    add(server)
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    servicer.set(HEALTH_SERVICE, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def serve(address: str, add: Callable[[grpc.Server], None], *, workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run get a few seconds to end."""
    server, port = start(address, add, workers=workers)
    logger.info("serving on port %d", port)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server.stop(GRACE).wait()
