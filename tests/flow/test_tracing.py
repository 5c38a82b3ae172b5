"""Spans of a run and of its processes, sent to a collector that takes OTLP over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hpo_pipeline.engines import RunContext, open_engine
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.flow.stages import Flow
from hpo_pipeline.flow.tracing import traced
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.trial.reporting.tracing import MISSING, NO_TRACING, open_tracing
from tests.engines.conftest import toy_engine as toy_engine
from tests.engines.test_local import Lines
from tests.toys import toy_experiment

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def collector():
    """Serve as a collector; give its address and the spans that it has taken."""
    wire = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    found = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = wire.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", found
    finally:
        server.shutdown()
        server.server_close()


def until_up(tracing):
    """Wait until the collector is found: runs are longer than that takes."""
    for _ in range(500):
        time.sleep(0 if tracing._sender._is_up else 0.02)


def attributes(span):
    return {pair.key: pair.value.string_value for pair in span.attributes}


def test_a_run_is_one_trace_with_its_stages(toy_engine, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    context = RunContext(toy_experiment(budget={"trials": 2, "parallel": 2}), folder, Lines())
    with collector() as (address, spans), folder.locked():
        monkeypatch.setenv(ENDPOINT, address)
        folder.adopt(context.experiment)
        with (
            Interruption().installed() as interruption,
            traced(context, "run", "toy") as shown,
            open_engine("toy", shown) as engine,
        ):
            flow = Flow(shown, engine)
            flow.search(interruption)
            flow.confirm(interruption)
            flow.select()
            flow.gate(interruption)
            until_up(shown.tracing)
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"run", "search", "confirm", "gate"}
    assert len({span.trace_id for span in spans}) == 1
    assert by_name["search"].parent_span_id == by_name["run"].span_id
    assert {attributes(span)["hpo.run_id"] for span in spans} == {folder.state().run_id}
    assert attributes(by_name["run"])["hpo.engine"] == "toy"


PROCESS = """
import time
from hpo_pipeline.trial.reporting import tracing
with tracing.process_span("trial", trial="toy-0001"):
    for _ in range(500):  # trials are longer than what it takes to find the collector
        time.sleep(0 if tracing._CURRENT.get()._sender._is_up else 0.02)
    tracing.phase("load", 0.5)
    with tracing.span("train"):
        tracing.phase("evaluate", 0.1)
    1 / 0
"""


def test_a_process_joins_the_trace_of_its_run():
    with collector() as (address, spans):
        tracing = open_tracing({ENDPOINT: address}, {"hpo.run_id": "0f9c"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ENDPOINT, address)
            with tracing.span("search"):
                environment = {**os.environ, **tracing.environment(), "HPO_RUN_ID": "0f9c"}
                subprocess.run(
                    [sys.executable, "-c", PROCESS], env=environment, stderr=subprocess.DEVNULL
                )
    by_name = {span.name: span for span in spans}
    trial, train = by_name["trial"], by_name["train"]
    assert (trial.status.code, trial.status.message) == (2, "ZeroDivisionError: division by zero")
    assert attributes(trial) == {"hpo.run_id": "0f9c", "hpo.trial": "toy-0001"}
    assert by_name["load"].parent_span_id == train.parent_span_id == trial.span_id
    assert by_name["evaluate"].parent_span_id == train.span_id
    assert by_name["load"].end_time_unix_nano - by_name["load"].start_time_unix_nano == 5e8
    assert environment["TRACEPARENT"].split("-")[1] == trial.trace_id.hex()
    assert environment["TRACEPARENT"].split("-")[2] == trial.parent_span_id.hex()


@pytest.mark.parametrize("kind", ["refuses", "hangs", "is no address"])
def test_a_collector_that_is_down_delays_nothing(kind, capfd):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    said = []
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        port = 9 if kind == "refuses" else hanging.getsockname()[1]
        address = "nonsense" if kind == "is no address" else f"http://127.0.0.1:{port}"
        open_tracing({ENDPOINT: address}, {}).close()  # what is loaded once is loaded
        begun = time.perf_counter()
        tracing = open_tracing({ENDPOINT: address}, {}, said.append)
        for _ in range(3000):
            tracing.phase("load", 0.1)
        tracing.close()
        assert time.perf_counter() - begun < 1.0
        if kind != "hangs":  # which is known after two seconds
            for _ in range(100):
                time.sleep(0.02 if not said else 0)
            assert said == [
                f"the collector of traces at {address} takes none; the run continues without"
            ]
    assert capfd.readouterr().err == ""


def test_without_the_packages_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    said = []
    assert open_tracing({ENDPOINT: "http://127.0.0.1:4318"}, {}, said.append) is NO_TRACING
    assert said == [MISSING]


def test_without_an_endpoint_nothing_is_loaded():
    code = "import sys; from hpo_pipeline.trial.reporting import tracing\n"
    code += "with tracing.process_span('x'): pass\n"
    code += "print('opentelemetry' in sys.modules)"
    environment = {n: v for n, v in os.environ.items() if not n.startswith("OTEL_")}
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert printed == "False\n"
