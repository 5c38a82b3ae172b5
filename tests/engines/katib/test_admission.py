"""What a pod may say to the stopping service, and what it costs."""

import grpc
import pytest

from hpo_pipeline.engines.katib.services.admission import Admission
from hpo_pipeline.engines.katib.services.db_manager import Database
from hpo_pipeline.engines.katib.services.serving import NotAllowed, NotThere, Served, TooMuch, start
from hpo_pipeline.engines.katib.services.stopping import (
    StoppingService,
    is_beside,
    own_experiment,
)
from hpo_pipeline.trial.names import EXPERIMENT_KEY, TOKEN_KEY
from hpo_pipeline.trial.reporting.grpc_reporting import DatabaseReporter, StoppingReporter
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc, live_pb2, live_pb2_grpc
from tests.engines.katib.fake_database import FakeDatabase
from tests.engines.katib.toy_objects import Toys
from tests.toys import toy_curve, toy_experiment


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def serve():
    """Return a function that serves a stopping service and returns its address."""
    servers = []

    def begin(service):
        server, port = start("127.0.0.1:0", service.add_to, workers=4)
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield begin
    for server in servers:
        server.stop(None).wait()


def test_a_trial_with_the_token_may_speak_for_itself():
    Admission(Toys("right"), "hpo").trial("toy", "toy-0003", "right")


def test_without_a_token_an_experiment_that_was_rendered_without_one_is_served():
    Admission(Toys(), "hpo").trial("toy", "toy-0003", "")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_another_token_is_refused(token):
    with pytest.raises(NotAllowed, match="not that of this experiment"):
        Admission(Toys("right"), "hpo").trial("toy", "toy-0003", token)


@pytest.mark.parametrize(
    ("experiment", "trial"),
    [
        ("nobody", "nobody-0000"),
        ("toy", "other-0000"),
        ("toy", "nothing"),
        ("toy", f"toy-{Toys.max_trials:04d}"),
        ("toy", "toy-99999999"),
        ("toy", "x" * 300),
        ("", ""),
        ("../secrets", "toy-0000"),
    ],
)
def test_names_that_are_not_there_are_refused(experiment, trial):
    with pytest.raises(NotThere):
        Admission(Toys(), "hpo").trial(experiment, trial, "")


def test_made_up_names_cost_a_bounded_number_of_questions():
    cluster, clock = Toys(), Clock()
    admission = Admission(cluster, "hpo", clock=clock)
    refused = 0
    for number in range(3000):
        try:
            admission.trial(f"made-up-{number}", "x-0000", "")
        except TooMuch:
            refused += 1
        except NotThere:
            pass
    assert len(cluster.asked) == 100
    assert refused == 2900
    assert not admission._known
    clock.now = 1.0
    admission.trial("toy", "toy-0000", "")


def test_a_trial_that_calls_all_the_time_is_slowed_down():
    clock = Clock()
    admission = Admission(Toys(), "hpo", clock=clock)
    for _ in range(100):
        admission.trial("toy", "toy-0000", "")
    with pytest.raises(TooMuch, match="calls of toy-0000"):
        admission.trial("toy", "toy-0000", "")
    admission.trial("toy", "toy-0001", "")
    clock.now = 0.1
    admission.trial("toy", "toy-0000", "")


def test_a_token_that_was_replaced_is_taken():
    cluster = Toys("old")
    admission = Admission(cluster, "hpo")
    admission.trial("toy", "toy-0000", "old")
    cluster.experiment = Toys("new").experiment
    admission.trial("toy", "toy-0000", "new")


def test_the_reporter_of_a_trial_sends_its_token(serve):
    address = serve(StoppingService(Toys("right"), "hpo"))
    (point,) = toy_curve(0.5)
    for token in ("right", "wrong"):
        reporter = StoppingReporter(address, toy_experiment(), "toy-0000", token=token)
        assert reporter.evaluated(point)  # a refused report does not stop a trial


def test_a_refused_end_is_not_repeated(serve, caplog):
    address = serve(StoppingService(Toys("right"), "hpo"))
    reporter = StoppingReporter(address, toy_experiment(), "toy-0000", token="wrong")
    from hpo_pipeline.results.trial import Trial, TrialState

    reporter.finished(Trial("toy-0000", 0, TrialState.SUCCEEDED, {}, {"accuracy": 0.5}))
    assert "not that of this experiment" in caplog.text


@pytest.mark.parametrize("text", ["", "5", "[]", "{}", "[" * 100_000])
def test_what_is_no_experiment_is_an_invalid_argument(serve, text):
    stub = live_pb2_grpc.StoppingStub(grpc.insecure_channel(serve(StoppingService(Toys(), "hpo"))))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Report(live_pb2.ReportRequest(experiment=text, trial_name="toy-0000"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_nobody_sets_the_status_of_a_trial(serve):
    address = serve(StoppingService(Toys(), "hpo"))
    stub = katib_pb2_grpc.EarlyStoppingStub(grpc.insecure_channel(address))
    with pytest.raises(grpc.RpcError) as caught:
        stub.SetTrialStatus(wire.SetTrialStatusRequest(trial_name="other-0003"))
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_a_failure_that_the_cluster_does_not_show_is_not_believed(serve):
    cluster = Toys()
    service = StoppingService(cluster, "hpo")
    channel = grpc.insecure_channel(serve(service))
    report = live_pb2.ReportRequest(experiment=toy_experiment().to_json(), trial_name="toy-0000")
    live_pb2_grpc.StoppingStub(channel).Report(report)
    request = wire.GetEarlyStoppingRulesRequest(experiment=wire.Experiment(name="toy"))
    for name in ("toy-0001", "toy-0002", "x-99999999"):
        trial = request.trials.add(name=name)
        trial.status.condition = wire.TrialStatus.FAILED
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    cluster.trials["toy-0001"] = {**cluster.get_trial("toy-0001"), "status": failed}
    katib_pb2_grpc.EarlyStoppingStub(channel).GetEarlyStoppingRules(request)
    curves = service._curves["toy"]
    assert [curves.has(t.name) for t in request.trials] == [True, False, False]


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:4711", True),
        ("ipv6:%5B::1%5D:4711", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:4711", True),
        ("ipv4:10.244.0.7:4711", False),
        ("ipv6:%5Bfd00::7%5D:4711", False),
    ],
)
def test_only_the_same_pod_is_beside(peer, expected):
    assert is_beside(peer) == expected


def test_the_services_find_the_experiment_of_their_pod():
    assert own_experiment(Toys(), "hpo", "toy-hpo-random-6d5f9c7b8-x2v4z") == "toy"
    assert own_experiment(Toys(), "hpo", "other-hpo-random-6d5f9c7b8-x2v4z") is None


def test_a_rule_for_trials_that_do_not_report_is_refused(serve):
    cluster = Toys()
    del cluster.experiment["metadata"]["annotations"]  # somebody wrote it by hand
    address = serve(StoppingService(cluster, "hpo", served=Served("toy")))
    stub = katib_pb2_grpc.EarlyStoppingStub(grpc.insecure_channel(address))
    for name, is_refused in (("hpo-median", True), ("hpo-none", False)):
        spec = wire.EarlyStoppingSpec(algorithm_name=name)
        request = wire.ValidateEarlyStoppingSettingsRequest(early_stopping=spec)
        if is_refused:
            with pytest.raises(grpc.RpcError) as caught:
                stub.ValidateEarlyStoppingSettings(request)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "was not written by `hpo render`" in str(caught.value.details())
        else:
            stub.ValidateEarlyStoppingSettings(request)


def values(trial):
    log = wire.ObservationLog()
    log.metric_logs.add(metric=wire.Metric(name="accuracy", value="0.5"))
    return wire.ReportObservationLogRequest(trial_name=trial, observation_log=log)


class Rows:
    """A database that remembers where it is and for which trials it was given values."""

    def __init__(self):
        self.addresses, self.trials = [], []

    def open(self, address):
        self.addresses.append(address)
        return self

    def report(self, request):
        self.trials.append(request.trial_name)


@pytest.mark.parametrize(
    ("experiment", "trial", "token", "code"),
    [
        ("toy", "toy-0000", "wrong", grpc.StatusCode.PERMISSION_DENIED),
        ("toy", "other-0000", "right", grpc.StatusCode.NOT_FOUND),
        ("other", "other-0000", "right", grpc.StatusCode.NOT_FOUND),
    ],
)
def test_values_for_katibs_database_are_taken_from_the_trial_alone(
    serve, experiment, trial, token, code
):
    rows = Rows()
    channel = grpc.insecure_channel(
        serve(StoppingService(Toys("right"), "hpo", open_database=rows.open))
    )
    report = katib_pb2_grpc.DBManagerStub(channel).ReportObservationLog
    with pytest.raises(grpc.RpcError) as caught:
        report(values(trial), metadata=((EXPERIMENT_KEY, experiment), (TOKEN_KEY, token)))
    assert caught.value.code() == code
    report(values("toy-0000"), metadata=((EXPERIMENT_KEY, "toy"), (TOKEN_KEY, "right")))
    assert rows.trials == ["toy-0000"]
    assert rows.addresses == ["katib-db-manager.kubeflow:6789"]


def test_a_database_that_is_away_is_said_on_one_line(serve):
    away = Database("127.0.0.1:1")
    address = serve(StoppingService(Toys("right"), "hpo", open_database=lambda address: away))
    report = katib_pb2_grpc.DBManagerStub(grpc.insecure_channel(address)).ReportObservationLog
    with pytest.raises(grpc.RpcError) as caught:
        report(values("toy-0000"), metadata=((EXPERIMENT_KEY, "toy"), (TOKEN_KEY, "right")))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details().startswith("katib-db-manager cannot be asked: failed to connect")
    assert "\n" not in caught.value.details()


def test_an_earlier_service_takes_no_values_and_the_database_gets_them(serve):
    database = FakeDatabase()
    server, port = start(
        "127.0.0.1:0",
        lambda s: katib_pb2_grpc.add_DBManagerServicer_to_server(database, s),
        workers=2,
    )
    earlier, earlier_port = start("127.0.0.1:0", lambda s: None, workers=2)
    reporter = DatabaseReporter(f"127.0.0.1:{port}", f"127.0.0.1:{earlier_port}", "toy", "toy-0000")
    reporter.evaluated(*toy_curve(0.5))
    assert ("toy-0000", "accuracy", "0.5") in database.rows
    server.stop(None).wait()
    earlier.stop(None).wait()
