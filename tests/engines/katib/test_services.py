"""The suggestion and stopping services, asked as Katib asks them, over gRPC."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hpo_pipeline.engines.katib.manifest import manifests
from hpo_pipeline.engines.katib.services import convert
from hpo_pipeline.engines.katib.services.early_stopped import NO_JOB, mark_stopped
from hpo_pipeline.engines.katib.services.serving import HEALTH_SERVICE, Served, start
from hpo_pipeline.engines.katib.services.stopping import StoppingService, look_up
from hpo_pipeline.engines.katib.services.suggestion import StoppingBeside, SuggestionService
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.space import render
from hpo_pipeline.experiment.stopping import MedianStopping
from hpo_pipeline.search.study import Study
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc, live_pb2, live_pb2_grpc
from hpo_pipeline.trial.wire.points import to_message
from tests.engines.katib.fake_katib import experiment_message
from tests.engines.katib.toy_objects import Toys
from tests.toys import LR, toy_curve, toy_experiment

SPACE = {
    "learning_rate": LR,
    "warmup_steps": {"type": "int", "low": 0, "high": 50},
    "optim": {"type": "choice", "values": ["adamw_torch", "sgd"]},
    "adam_beta1": {"type": "float", "low": 0.5, "high": 0.99, "when": {"optim": "adamw_torch"}},
}
GRID = {"weight_decay": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1}}
NUMBERS = {"learning_rate": LR, "weight_decay": {"type": "float", "low": 0.0, "high": 0.5}}
RULES = ["learning_rate >= 0.0001", "weight_decay < 0.3", "warmup_steps % 3 == 1"]
ALGORITHMS = ["random", "tpe", "qmc", "cmaes", "genetic", "grid", "pbt"]


def experiment_for(algorithm, **sections):
    space = {"grid": GRID, "cmaes": NUMBERS, "pbt": NUMBERS}.get(algorithm, SPACE)
    settings = {"population": 4} if algorithm in ("pbt", "genetic") else {}
    search = {"algorithm": algorithm, "seed": 3, "settings": settings}
    sections = {"budget": {"trials": 12}, **sections}
    return toy_experiment(space=space, search=search, **sections)


class Asker:
    """Katib's controller, for one experiment: remembers the trials and how they ended."""

    def __init__(self, stub, experiment):
        self.stub = stub
        self.message = experiment_message(manifests(experiment)[1])
        self.trials: list[wire.Trial] = []
        self.count = 0
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)

    def ask(self, count=1):
        self.count += count
        reply = self.stub.GetSuggestions(self.request(count))
        for found in reply.parameter_assignments:
            trial = wire.Trial(name=found.trial_name)
            trial.spec.parameter_assignments.assignments.extend(found.assignments)
            trial.status.condition = wire.TrialStatus.RUNNING
            trial.status.start_time = self.now()
            self.trials.append(trial)
        return [
            (f.trial_name, {a.name: a.value for a in f.assignments})
            for f in reply.parameter_assignments
        ]

    def request(self, count):
        return wire.GetSuggestionsRequest(
            experiment=self.message,
            trials=self.trials,
            current_request_number=count,
            total_request_number=self.count,
        )

    def end(self, number, value, condition=wire.TrialStatus.SUCCEEDED):
        trial = self.trials[number]
        trial.status.condition = condition
        trial.status.completion_time = self.now()
        trial.status.observation.metrics.add(name="accuracy", value=value)

    def now(self):
        self.clock += timedelta(seconds=1)
        return self.clock.isoformat()


@pytest.fixture
def serve():
    """Return a function that starts a service on loopback and returns a channel to it."""
    servers, channels = [], []

    def begin(add):
        server, port = start("127.0.0.1:0", add, workers=4)
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        servers.append(server)
        channels.append(channel)
        return channel

    yield begin
    for channel in channels:
        channel.close()
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def suggestion(serve):
    """Return a function that gives a stub of a new suggestion service."""

    def new():
        service = SuggestionService()
        channel = serve(lambda s: katib_pb2_grpc.add_SuggestionServicer_to_server(service, s))
        return katib_pb2_grpc.SuggestionStub(channel)

    return new


RULED = [(name, ()) for name in ALGORITHMS] + [(name, RULES) for name in ALGORITHMS]


def ruled(algorithm, rules):
    """Return an experiment under those of the rules that read only what its space has."""
    space = experiment_for(algorithm).space
    fitting = [rule for rule in rules if rule.split()[0] in space]
    return experiment_for(algorithm, space_rules=fitting)


@pytest.mark.parametrize(("algorithm", "rules"), RULED)
def test_a_search_over_grpc_is_the_search_of_this_machine(suggestion, algorithm, rules):
    experiment = ruled(algorithm, rules)
    asker, study = Asker(suggestion(), experiment), Study(experiment.problem)
    for number in range(6):
        ((name, texts),) = asker.ask()
        study.ask()
        assert name == study.name(number)
        own = {n: render(v) for n, v in study.parameters(number).items()}
        assert {n: t for n, t in texts.items() if n != "parent"} == own
        asker.end(number, str(number / 10))
        study.tell(known(experiment, asker)[number].trial)
        assert experiment.problem.broken(study.asked(number).assignments) == []


class Disturbed(Asker):
    """An asker with an experiment of the same name elsewhere, whose trials are far better."""

    def request(self, count):
        found = super().request(count)
        for trial in list(found.trials):
            if trial.status.condition == wire.TrialStatus.SUCCEEDED:
                namesake = found.trials.add()
                namesake.CopyFrom(trial)
                namesake.spec.parameter_assignments.assignments[0].value = "0.002"
                namesake.status.observation.metrics[0].value = "0.99"
        found.trials.reverse()
        return found


@pytest.mark.parametrize("algorithm", ["genetic", "cmaes"])
def test_a_search_learns_nothing_from_the_trials_of_a_namesake(suggestion, algorithm):
    """Katib lists the trials of all namespaces together."""
    experiment = experiment_for(algorithm)
    askers = [kind(suggestion(), experiment) for kind in (Asker, Disturbed)]
    for number in range(10):
        alone, disturbed = [asker.ask() for asker in askers]
        assert alone == disturbed
        for asker in askers:
            asker.end(number, str(number / 20))


def known(experiment, asker):
    return convert.known_trials(experiment, asker.trials)


@pytest.mark.parametrize(("algorithm", "rules"), RULED)
def test_a_service_that_starts_anew_goes_on_as_if_nothing_had_happened(
    suggestion, algorithm, rules
):
    experiment = ruled(algorithm, rules)
    steady, restarted = Asker(suggestion(), experiment), Asker(suggestion(), experiment)
    for number in range(6):
        restarted.stub = suggestion()
        assert steady.ask() == restarted.ask()
        for asker in (steady, restarted):
            asker.end(number, str(number / 10))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_lost_reply_is_given_again(suggestion, algorithm):
    asker = Asker(suggestion(), experiment_for(algorithm))
    asker.ask(2)
    asker.count += 2
    request = asker.request(2)
    assert asker.stub.GetSuggestions(request) == asker.stub.GetSuggestions(request)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("again", [False, True])
def test_exactly_as_many_come_whatever_the_past_trials_look_like(suggestion, algorithm, again):
    asker = Asker(suggestion(), experiment_for(algorithm, budget={"trials": 40}))
    asker.ask(12)
    status = wire.TrialStatus
    ends = [
        ("0.5", status.SUCCEEDED),
        ("nan", status.SUCCEEDED),
        ("", status.SUCCEEDED),
        ("unavailable", status.SUCCEEDED),
        ("inf", status.SUCCEEDED),
        ("0.4", status.EARLYSTOPPED),
        ("", status.EARLYSTOPPED),
        ("", status.FAILED),
        ("", status.KILLED),
        ("0.3", status.UNKNOWN),
    ]
    for number, (value, condition) in enumerate(ends):
        asker.end(number, value, condition)
    del asker.trials[3:5]  # Katib leaves out trials without metrics
    if again:
        asker.stub = suggestion()
    for _ in range(3):
        found = asker.ask(3)
        assert len(found) == 3
    names = [trial.name for trial in asker.trials]
    assert len(set(names)) == len(names)


def test_trials_of_a_namesake_elsewhere_do_not_disturb(suggestion):
    asker = Asker(suggestion(), experiment_for("tpe"))
    asker.ask(2)
    other = wire.Trial(name="toy-0000")
    other.spec.parameter_assignments.assignments.add(name="something", value="else")
    asker.trials.append(other)
    asker.trials.append(wire.Trial(name="other-0000"))
    assert asker.ask()[0][0] == "toy-0002"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.spec.algorithm.algorithm_settings.add(name="sigma", value="2"), "sigma"),
        (lambda e: setattr(e.spec.algorithm, "algorithm_name", "hpo-magic"), "hpo-magic"[4:]),
        (lambda e: setattr(e.spec.parameter_specs.parameters[0].feasible_space, "min", "9"), "low"),
        (lambda e: setattr(e.spec.parameter_specs.parameters[0].feasible_space, "min", "x"), "x"),
        (lambda e: setattr(e.spec.algorithm, "algorithm_name", "hpo-grid"), "grid cannot"),
    ],
)
def test_validation_says_what_is_wrong(suggestion, change, said):
    message = experiment_message(manifests(experiment_for("random"))[1])
    change(message)
    request = wire.ValidateAlgorithmSettingsRequest(experiment=message)
    with pytest.raises(grpc.RpcError) as caught:
        suggestion().ValidateAlgorithmSettings(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert said in caught.value.details()


def test_several_objectives_and_constraints_travel():
    experiment = toy_experiment(
        objective=[
            {"metric": "f1", "goal": "maximize"},
            {"metric": "latency_p95_ms", "goal": "minimize"},
        ],
        constraints=["model_size_mb <= 70"],
        search={"algorithm": "nsga2", "start": [{"learning_rate": 0.001}]},
    )
    message = experiment_message(manifests(experiment)[1])
    found, _ = convert.search_problem(message)
    assert found.objective == experiment.objective
    assert found.constraints == experiment.constraints
    assert found.search == experiment.search


def test_health_is_told_as_katibs_probe_asks(serve):
    stub = health_pb2_grpc.HealthStub(serve(lambda server: None))
    reply = stub.Check(health_pb2.HealthCheckRequest(service=HEALTH_SERVICE))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


class OneTrial:
    """A cluster with one running trial; it remembers what was changed."""

    def __init__(self, *refused: int):
        self.refused = list(refused)
        self.changes = []
        objective = {"objectiveMetricName": "accuracy", "additionalMetricNames": ["f1", "size"]}
        self.trial = {"metadata": {"name": "toy-0000"}, "spec": {"objective": objective}}

    def get(self, kind, namespace, name):
        return self.trial

    def patch(self, kind, namespace, name, change, *, subresource=""):
        status = self.refused.pop(0) if self.refused else 0
        if status:
            raise ClusterError("no", status=status)
        self.changes.append((subresource, change))


def test_a_stopped_trial_is_marked_with_its_values_and_katib_leaves_it_alone():
    cluster, curve = OneTrial(), toy_curve(0.5, 0.7, 0.6)
    mark_stopped(cluster, "hpo", "toy-0000", {"accuracy": 0.6, "size": 2.0}, curve)
    (_, (condition, observation)), (where, settled) = cluster.changes
    assert condition["value"]["type"] == "EarlyStopped"
    assert observation["value"]["metrics"] == [
        {"name": "accuracy", "min": "0.5", "max": "0.7", "latest": "0.6"},
        {"name": "f1", "min": "unavailable", "max": "unavailable", "latest": "unavailable"},
        {"name": "size", "min": "2.0", "max": "2.0", "latest": "2.0"},
    ]
    assert (where, settled["spec"]["successCondition"]) == ("", NO_JOB)


def test_a_stopped_trial_without_values_is_left_to_katib():
    cluster = OneTrial()
    mark_stopped(cluster, "hpo", "toy-0000", {}, ())
    ((where, operations),) = cluster.changes
    assert (where, len(operations)) == ("status", 1)


def test_a_role_that_may_not_settle_a_trial_does_no_harm(caplog):
    mark_stopped(OneTrial(0, 403), "hpo", "toy-0000", {"accuracy": 0.6})
    assert "apply manifests/base anew" in caplog.text


@pytest.fixture
def stopping(serve):
    service = StoppingService(Toys(), "hpo")

    def add(server):
        katib_pb2_grpc.add_EarlyStoppingServicer_to_server(service, server)
        live_pb2_grpc.add_StoppingServicer_to_server(service, server)

    return serve(add)


def report(stub, name, *values, experiment):
    curve = [to_message(point) for point in toy_curve(*values)]
    request = live_pb2.ReportRequest(experiment=experiment.to_json(), trial_name=name, curve=curve)
    return stub.Report(request).stop


def finish(stub, name, *values, experiment):
    curve = [to_message(point) for point in toy_curve(*values)]
    request = live_pb2.FinishRequest(
        experiment=experiment.to_json(),
        trial_name=name,
        state="succeeded",
        metrics={"accuracy": max(values)},
        curve=curve,
    )
    stub.Finish(request)


MEDIAN = toy_experiment(stopping=MedianStopping(algorithm="median", min_trials=2))


def test_a_trial_worse_than_the_median_hears_stop(stopping):
    stub = live_pb2_grpc.StoppingStub(stopping)
    assert not report(stub, "toy-0002", 0.1, experiment=MEDIAN)
    finish(stub, "toy-0000", 0.5, 0.6, experiment=MEDIAN)
    finish(stub, "toy-0001", 0.5, 0.7, experiment=MEDIAN)
    assert report(stub, "toy-0003", 0.1, experiment=MEDIAN)
    assert not report(stub, "toy-0004", 0.6, experiment=MEDIAN)


def test_what_was_decided_stays_so_if_the_answer_got_lost(stopping):
    stub = live_pb2_grpc.StoppingStub(stopping)
    for number in (0, 1):
        finish(stub, f"toy-000{number}", 0.5, 0.6, experiment=MEDIAN)
    assert report(stub, "toy-0003", 0.1, experiment=MEDIAN)
    assert report(stub, "toy-0003", 0.1, 0.9, experiment=MEDIAN)


def test_a_reached_target_stops_all_others(stopping):
    experiment = toy_experiment(budget={"trials": 9, "target": 0.6})
    stub = live_pb2_grpc.StoppingStub(stopping)
    assert not report(stub, "toy-0001", 0.5, experiment=experiment)
    finish(stub, "toy-0000", 0.5, 0.6, experiment=experiment)
    assert report(stub, "toy-0001", experiment=experiment)
    assert stub.IsOver(live_pb2.IsOverRequest(experiment_name="toy")).stop


def test_the_suggestion_service_waits_for_the_one_beside_it():
    server, port = start("127.0.0.1:0", lambda server: None, workers=1)
    beside = StoppingBeside(f"127.0.0.1:{port}")
    assert beside.await_start(10)
    server.stop(None).wait()
    assert not StoppingBeside(f"127.0.0.1:{port}").await_start(0.3)


SERVES = """
import logging, sys
from hpo_pipeline.engines.katib.services.serving import Served, ServiceLog
log = ServiceLog()
logging.info("before")
for _ in range(2):
    log.serves(Served("toy", *(text or None for text in sys.argv[1:])))
logging.info("after")
"""


def said_by_a_service(run_id, log_format):
    command = [sys.executable, "-c", SERVES, run_id, log_format]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_a_service_of_a_run_that_logs_json_does_so_too():
    before, *later = said_by_a_service("0f9c", "json")
    assert before.endswith(" before")
    found = [json.loads(line) for line in later]
    assert [line["message"] for line in found] == ["serving toy, run 0f9c", "after"]
    assert {(line["run"], line["experiment"]) for line in found} == {("0f9c", "toy")}


def test_a_service_of_another_run_writes_lines_for_people():
    lines = [line.partition(",")[2][4:] for line in said_by_a_service("0f9c", "")]
    assert lines == ["before", "serving toy, run 0f9c", "after"]


def test_a_service_finds_out_how_its_run_logs():
    toys = Toys()
    toys.experiment["metadata"]["labels"]["hpo-pipeline/run"] = "0f9c"
    assert look_up(toys, "hpo", "toy") == Served("toy", "0f9c")
    toys.experiment["metadata"]["annotations"]["hpo-pipeline/log-format"] = "json"
    assert look_up(toys, "hpo", "toy") == Served("toy", "0f9c", "json")
    assert look_up(toys, "hpo", "gone") == Served("gone")


def test_both_services_know_the_run_that_they_serve(serve):
    served = Served("toy", "0f9c", "json")
    service, found = StoppingService(Toys(), "hpo", served=served), []
    channel = serve(lambda server: live_pb2_grpc.add_StoppingServicer_to_server(service, server))
    beside = StoppingBeside(serves=found.append)
    beside._stub = live_pb2_grpc.StoppingStub(channel)
    assert beside("toy") is None
    assert found == [served]


def test_many_trials_may_report_at_once(stopping):
    stub = live_pb2_grpc.StoppingStub(stopping)
    names = [f"toy-{i:04d}" for i in range(Toys.max_trials)]
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda n: report(stub, n, 0.5, experiment=MEDIAN), names)
    assert not any(answers)


def test_settings_of_a_rule_are_validated(stopping):
    stub = katib_pb2_grpc.EarlyStoppingStub(stopping)
    spec = wire.EarlyStoppingSpec(algorithm_name="hpo-median")
    spec.algorithm_settings.add(name="min_trials", value="0")
    with pytest.raises(grpc.RpcError) as caught:
        stub.ValidateEarlyStoppingSettings(
            wire.ValidateEarlyStoppingSettingsRequest(early_stopping=spec)
        )
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "min_trials" in caught.value.details()


def test_a_choice_of_numbers_and_a_range_from_zero_are_served():
    experiment = toy_experiment(
        space={
            "learning_rate": {"type": "choice", "values": [0.1, 0.01]},
            "num_train_epochs": {"type": "int", "low": 1, "high": 3},
        }
    )
    message = experiment_message(manifests(experiment)[1])
    message.spec.parameter_specs.parameters[1].feasible_space.min = "0"
    problem, _ = convert.search_problem(message)
    assert list(problem.space) == ["learning_rate", "num_train_epochs"]


def test_conditions_on_whole_numbers_and_comparisons_travel():
    layers = {"type": "int", "low": 1, "high": 4}
    size = {"type": "choice", "values": [24, 48]}
    when = {"model.layers": "> 2", "model.size": [">= 40"]}
    drop = {"type": "float", "low": 0.0, "high": 0.5, "when": when}
    decay = {"type": "float", "low": 0.0, "high": 0.5, "when": {"model.layers": 1}}
    space = {"model.layers": layers, "model.size": size, "model.drop": drop, "weight_decay": decay}
    message = experiment_message(manifests(toy_experiment(space=space))[1])
    problem, _ = convert.search_problem(message)
    assert problem.space == toy_experiment(space=space).space


def test_rules_travel_with_the_values_that_they_read():
    size = {"type": "choice", "values": [24, 48, 96]}
    space = {
        "model.hidden_size": size,
        "model.num_hidden_layers": {"type": "int", "low": 1, "high": 4},
    }
    rules = ["model.hidden_size >= 24 * model.num_hidden_layers", "task.max_length > 8"]
    made = toy_experiment(space=space, space_rules=rules)
    problem, _ = convert.search_problem(experiment_message(manifests(made)[1]))
    assert problem.rules == made.problem.rules
    assert problem.space == made.space


def test_a_rule_that_nothing_keeps_is_refused_by_the_service():
    made = toy_experiment(space_rules=["learning_rate > 1"])
    with pytest.raises(ValueError, match=r"space_rules.0: no.* keeps 'learning_rate > 1'"):
        convert.search_problem(experiment_message(manifests(made)[1]))
