"""The values of trials on their way to Katib's database.

Katib's database has no authentication: any client that reaches it can write values for any trial.
Our trials therefore give theirs to this service, which takes from a trial only its own. A network
policy can then keep trials from the database altogether (manifests/overlays/closed).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import grpc

from hpo_pipeline.engines.katib.services.admission import Admission
from hpo_pipeline.engines.katib.services.db_manager import Database, said
from hpo_pipeline.engines.katib.services.serving import NotNow, guarded
from hpo_pipeline.trial.names import EXPERIMENT_KEY, TOKEN_KEY
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc


class Observations(katib_pb2_grpc.DBManagerServicer):
    """Katib's `DBManager` for trials, which can only report."""

    def __init__(self, admission: Admission, open_database: Callable[[str], Database]) -> None:
        self._admission = admission
        self._database = functools.cache(open_database)

    @guarded
    def ReportObservationLog(
        self, request: wire.ReportObservationLogRequest, context: grpc.ServicerContext
    ) -> wire.ReportObservationLogReply:
        """Hand on the values that a trial reports for itself."""
        sent = dict(context.invocation_metadata() or ())
        experiment, token = (str(sent.get(key, "")) for key in (EXPERIMENT_KEY, TOKEN_KEY))
        self._admission.trial(experiment, request.trial_name, token, context.peer())
        try:
            self._database(self._admission.database(experiment)).report(request)
        except grpc.RpcError as error:
            raise NotNow(f"katib-db-manager cannot be asked: {said(error)}") from error
        return wire.ReportObservationLogReply()
