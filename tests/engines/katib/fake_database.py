"""Katib's database in memory, and servers of gRPC on loopback."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc


class FakeDatabase(katib_pb2_grpc.DBManagerServicer):
    """Katib's database: rows of (trial, time, name, value) in the order they came."""

    def __init__(self):
        self.rows: list[tuple[str, str, str]] = []

    def ReportObservationLog(self, request, context):
        logs = request.observation_log.metric_logs
        self.rows += [(request.trial_name, log.metric.name, log.metric.value) for log in logs]
        return wire.ReportObservationLogReply()

    def GetObservationLog(self, request, context):
        log = wire.ObservationLog()
        for trial, name, value in list(self.rows):
            if trial == request.trial_name and name == request.metric_name:
                log.metric_logs.add(metric=wire.Metric(name=name, value=value))
        return wire.GetObservationLogReply(observation_log=log)


def serve(add: Callable[[grpc.Server], None], port: int = 0) -> tuple[grpc.Server, int]:
    """Start a server with what `add` adds to it; return it and its port."""
    server = grpc.server(ThreadPoolExecutor(8))
    add(server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port
