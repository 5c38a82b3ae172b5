"""A search on a cluster is bound to its data, as a run of this machine is."""

import grpc
import pytest

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.engines.katib.names import DATA_ANNOTATION
from hpo_pipeline.engines.katib.services.admission import Admission
from hpo_pipeline.engines.katib.services.serving import OtherData, start
from hpo_pipeline.engines.katib.services.stopping import StoppingService
from hpo_pipeline.errors import ClusterError, DataError, TrialError
from hpo_pipeline.trial.reporting.grpc_reporting import StoppingReporter
from hpo_pipeline.trial.wire import live_pb2, live_pb2_grpc
from tests.engines.katib.toy_objects import Toys
from tests.toys import toy_curve, toy_experiment


@pytest.fixture
def address():
    def add(server):
        live_pb2_grpc.add_StoppingServicer_to_server(StoppingService(cluster, "hpo"), server)

    cluster = Toys()
    server, port = start("127.0.0.1:0", add, workers=2)
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_trial_with_other_data_fails_and_the_search_is_over(address):
    first, second = (
        StoppingReporter(address, toy_experiment(), name) for name in ("toy-0000", "toy-0001")
    )
    first.begin("a" * 64)
    first.begin("a" * 64)  # made anew after an eviction
    with pytest.raises(TrialError, match="the data have changed since the experiment toy was"):
        second.begin("b" * 64)
    with pytest.raises(TrialError, match="the data have changed"):
        second.evaluated(toy_curve(0.5)[0])  # where the service was not there at the beginning
    assert first.evaluated(toy_curve(0.5)[0]) is False  # the search is over
    stub = live_pb2_grpc.StoppingStub(grpc.insecure_channel(address))
    over = stub.IsOver(live_pb2.IsOverRequest(experiment_name="toy"))
    assert over.reason == "the data have changed since it was started"


def test_the_experiment_remembers_its_data_when_the_service_does_not():
    cluster = Toys()
    Admission(cluster, "hpo").data("toy", "a")
    assert cluster.experiment["metadata"]["annotations"][DATA_ANNOTATION] == "a"
    with pytest.raises(OtherData):
        Admission(cluster, "hpo").data("toy", "b")


def test_a_role_that_may_not_write_it_down_remembers_in_the_service(caplog):
    def refuse(*arguments, **options):
        raise ClusterError("experiments is forbidden", status=403)

    cluster = Toys()
    cluster.patch = refuse
    admission = Admission(cluster, "hpo")
    admission.data("toy", "a")
    assert "apply manifests/base again" in caplog.text
    with pytest.raises(OtherData):
        admission.data("toy", "b")


def test_jobs_around_the_search_want_the_data_of_the_trials():
    meta = DatasetMeta("a", "text", "reviews.csv", "", [], {}, 0.5, 8, None, [], {})
    meta.require("a")
    meta.require(None)  # a run of an earlier version
    with pytest.raises(DataError, match=r"reviews\.csv\) have changed since this run"):
        meta.require("b")
