"""Spans of OpenTelemetry: of a run's stages, and of what its trials and jobs do in their processes.

Where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, spans go there by OTLP over HTTP; else nothing of this
is loaded. Trials and jobs join the trace of their run by `TRACEPARENT` (W3C Trace Context).

A collector that is down delays nothing: spans are sent by a thread, which first sends an empty
request. A process waits at its end, for a second at most, only where the collector has answered;
one that is so short that this is not known yet waits for 0.3 s.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol

from hpo_pipeline.trial.names import RUN_ID_VARIABLE

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PARENT = "TRACEPARENT"
RUN, EXPERIMENT = "hpo.run_id", "hpo.experiment"
MISSING = (
    "no traces are sent, though OTEL_EXPORTER_OTLP_ENDPOINT is set: "
    "pip install 'hpo-pipeline[tracing]'"
)
SEND_SECONDS = 2.0
"""What sending may take, in its thread."""
PATIENCE_SECONDS = {True: 1.0, None: 0.3, False: 0.0}
"""How long a process waits at its end, by whether the collector answers."""
MOST_WAITING = 2048
BATCH = 256
MOST_PHASES = 200
"""Phases of one process: a training may evaluate many thousand times."""
_END = None


class Tracing(Protocol):
    """Where the spans of a process go."""

    def span(self, name: str, **attributes: str) -> Any:
        """Return a block that is a span, below the one around it; an error marks it."""

    def phase(self, name: str, seconds: float) -> None:
        """Add a span that ends now and took so many seconds."""

    def environment(self) -> dict[str, str]:
        """Return the variables by which a process joins at the span of this moment."""

    def close(self) -> None:
        """Send what is left, if anybody takes it."""


class NoTracing:
    """No spans: nobody asked for them."""

    @contextmanager
    def span(self, name: str, **attributes: str) -> Iterator[None]:
        yield

    def phase(self, name: str, seconds: float) -> None:
        pass

    def environment(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


NO_TRACING = NoTracing()
_CURRENT: ContextVar[Tracing] = ContextVar("tracing", default=NO_TRACING)


def phase(name: str, seconds: float) -> None:
    """Add a span of this process that ends now and took so many seconds."""
    _CURRENT.get().phase(name, seconds)


def span(name: str) -> Any:
    """Return a block that is a span of this process."""
    return _CURRENT.get().span(name)


def preload() -> None:
    """Import what sends spans, where they are wanted: for processes that are forked from here."""
    if any(map(os.environ.get, ENDPOINTS)):
        with suppress(ImportError):
            _packages()


@contextmanager
def process_span(name: str, **attributes: str) -> Iterator[None]:
    """Trace what a trial or a job does in this process; its variables name run and parent."""
    tracing = open_tracing(os.environ, {RUN: os.environ.get(RUN_ID_VARIABLE, "")})
    token = _CURRENT.set(tracing)
    try:
        with tracing.span(name, **attributes):
            yield
    finally:
        _CURRENT.reset(token)
        tracing.close()


def open_tracing(
    environ: Mapping[str, str],
    attributes: Mapping[str, str],
    say: Callable[[str], None] = lambda line: None,
) -> Tracing:
    """Return where spans go, which is nowhere unless the variables name a collector.

    Args:
        attributes: of each span.
        say: is told where the package is missing, or the collector does not answer.
    """
    endpoint = next((environ[name] for name in ENDPOINTS if environ.get(name)), None)
    if endpoint is None:
        return NO_TRACING
    try:
        packages = _packages()
    except ImportError:
        say(MISSING)
        return NO_TRACING
    return _Spans(*packages, environ.get(PARENT), attributes, lambda: say(_lost(endpoint)))


def _lost(endpoint: str) -> str:
    return f"the collector of traces at {endpoint} takes none; the run continues without"


def _packages() -> tuple[Any, Any]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk import trace

    return trace, OTLPSpanExporter


class _Spans:
    """Spans that are sent to a collector."""

    def __init__(
        self,
        trace: Any,
        exporter: Any,
        parent: str | None,
        attributes: Mapping[str, str],
        lost: Callable[[], None],
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = os.environ.get("OTEL_SERVICE_NAME", "hpo-pipeline")
        provider = trace.TracerProvider(
            resource=Resource.create({"service.name": given}), shutdown_on_exit=False
        )
        self._sender = _Sender(exporter, lost)
        provider.add_span_processor(self._sender)
        self._tracer = provider.get_tracer("hpo_pipeline")
        self._propagator = TraceContextTextMapPropagator()
        self._attributes = {name: text for name, text in attributes.items() if text}
        carrier = {"traceparent": parent} if parent else {}
        self._context: Any = self._propagator.extract(carrier)
        self._phases = 0

    @contextmanager
    def span(self, name: str, **attributes: str) -> Iterator[None]:
        from opentelemetry.trace import set_span_in_context

        before = self._context
        given = {f"hpo.{key}": text for key, text in attributes.items()}
        found = self._tracer.start_span(
            name, context=before, attributes={**self._attributes, **given}
        )
        self._context = set_span_in_context(found, before)
        try:
            yield
        # The boundary is not here: whatever it is, it is noted and passed on.
        except BaseException as error:
            from opentelemetry.trace import Status, StatusCode

            found.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:500]))
            raise
        finally:
            self._context = before
            found.end()

    def phase(self, name: str, seconds: float) -> None:
        self._phases += 1
        if self._phases > MOST_PHASES:
            return
        end = time.time_ns()
        begun = end - round(seconds * 1e9)
        found = self._tracer.start_span(
            name, context=self._context, attributes=self._attributes, start_time=begun
        )
        found.end(end_time=end)

    def environment(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._context)
        return {PARENT: carrier["traceparent"]} if "traceparent" in carrier else {}

    def close(self) -> None:
        self._sender.shutdown()


class _Sender:
    """Sends spans in a thread of its own; those that nobody takes are dropped."""

    def __init__(self, exporter: Any, lost: Callable[[], None]) -> None:
        # It writes a line for each attempt; one that says so is enough.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._make, self._lost = exporter, lost
        self._queue: queue.Queue[Any] = queue.Queue(MOST_WAITING)
        self._is_up: bool | None = None
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        pass

    def _on_ending(self, span: Any) -> None:
        pass

    def on_end(self, span: Any) -> None:
        with suppress(queue.Full):
            self._queue.put_nowait(span)

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True

    def shutdown(self) -> None:
        with suppress(queue.Full):
            self._queue.put_nowait(_END)
        if patience := PATIENCE_SECONDS[self._is_up]:
            self._thread.join(patience)

    def _run(self) -> None:
        has_said = False
        exporter = self._opened()
        self._is_up = self._sent(exporter, [])
        while True:
            if not (self._is_up or has_said):
                has_said = True
                self._lost()
            first = self._queue.get()
            spans = [first]
            while len(spans) < BATCH and spans[-1] is not _END:
                try:
                    spans.append(self._queue.get(timeout=0.2))
                except queue.Empty:
                    break
            is_over = spans[-1] is _END
            given = [span for span in spans if span is not _END]
            if given:
                self._is_up = self._sent(exporter, given)
            if is_over:
                return

    def _opened(self) -> Any:
        try:
            return self._make(timeout=SEND_SECONDS)
        # A boundary: whatever is wrong with its variables must not end a run.
        except Exception:
            return None

    def _sent(self, exporter: Any, spans: list[Any]) -> bool:
        if exporter is None:
            return False
        try:
            return bool(exporter.export(spans).value == 0)
        # A boundary, as above: an address that is none, a certificate, a proxy.
        except Exception:
            return False
