"""The Katib engine on a fake cluster, whose trials, services and messages are real."""

import threading
import time

import pytest

from hpo_pipeline.engines import RunContext, known_run_id, open_engine
from hpo_pipeline.engines.interruption import Interrupted, Interruption
from hpo_pipeline.engines.katib.engine import early_end
from hpo_pipeline.engines.katib.lookup import delete, load_experiment
from hpo_pipeline.engines.katib.manifest import config_map, manifests, verifier
from hpo_pipeline.engines.katib.remote_experiment import RemoteExperiment
from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, JOBS, SECRETS, TRIALS
from hpo_pipeline.errors import BackendError, ClusterError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.jobs.commands import prepare_job
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import TrialState
from tests.engines.contract import EngineContract
from tests.engines.test_local import LONG, Lines


@pytest.fixture
def make_engine(cluster, write_for_cluster):
    """Return a function that gives an experiment to the cluster and returns its engine."""

    def make(*arguments, progress=None, **sections):
        experiment = load(write_for_cluster(*arguments, **sections))
        engine = RemoteExperiment(experiment, cluster, progress=progress or Lines())
        engine.apply()
        return engine

    return make


def follow(engine):
    with Interruption().installed() as interruption:
        return engine.follow(interruption)


class TestContract(EngineContract):
    @pytest.fixture
    def write_experiment(self, write_for_cluster):
        return write_for_cluster

    @pytest.fixture
    def run_engine(self, cluster):
        def run(file):
            experiment = load(file)
            engine = RemoteExperiment(experiment, cluster, progress=Lines())
            engine.apply()
            trials, _, said = follow(engine)
            return trials, early_end(experiment, trials, said)

        return run


def files(cluster):
    """Return the names of the experiment files in the cluster."""
    items = cluster.list(CONFIG_MAPS, "hpo", labels="app.kubernetes.io/name=hpo-pipeline")["items"]
    return [item["metadata"]["name"] for item in items]


def states(trials):
    return [trial.state for trial in trials]


def test_the_same_command_again_comes_back_to_the_same_experiment(make_engine, cluster):
    first = follow(make_engine(budget="{trials: 2, parallel: 2}"))[0]
    engine = make_engine(budget="{trials: 2, parallel: 2}")
    again = follow(engine)[0]
    assert again == first
    assert len(cluster.controllers) == 1


def test_another_experiment_of_the_same_name_is_refused(make_engine, cluster):
    make_engine(training=LONG)
    with pytest.raises(BackendError, match="has another experiment of this name"):
        make_engine(search="{algorithm: random, seed: 2}")
    assert len(files(cluster)) == 1


def test_a_cut_watch_and_a_lost_version_lose_nothing(make_engine, cluster):
    progress = Lines()
    breaks = [ClusterError("the connection broke"), ClusterError("too old", status=410)]
    progress.on_update = lambda running: cluster.fail_next(*breaks[:1]) or breaks.clear()
    trials, state, _ = follow(make_engine(budget="{trials: 4, parallel: 2}", progress=progress))
    assert states(trials) == [TrialState.SUCCEEDED] * 4
    assert state == "succeeded"


def test_the_services_may_start_anew_in_the_middle(make_engine, cluster):
    progress = Lines()
    restarts = []

    def restart(running):
        if len(running) and not restarts:
            restarts.append(1)
            cluster.controllers["toy"].restart_services()

    progress.on_update = restart
    engine = make_engine(
        search="{algorithm: tpe, seed: 1}", budget="{trials: 6, parallel: 2}", progress=progress
    )
    trials, _, _ = follow(engine)
    assert restarts
    assert [t.number for t in trials] == list(range(6))
    assert states(trials) == [TrialState.SUCCEEDED] * 6


def test_an_interruption_leaves_the_experiment_running(make_engine, cluster):
    engine = make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    with Interruption().installed() as interruption:
        timer = threading.Timer(1.0, lambda: interruption._on_signal(2, None))
        timer.start()
        with pytest.raises(Interrupted, match="hpo attach toy") as caught:
            engine.follow(interruption)
    assert caught.value.exit_code == 130
    assert cluster.get(EXPERIMENTS, "hpo", "toy")


def test_stop_ends_running_trials_with_their_results(make_engine):
    engine = make_engine(training=LONG, budget="{trials: 9, parallel: 2}")
    threading.Timer(2.0, lambda: engine.stop("enough")).start()
    trials, state, said = follow(engine)
    assert states(trials) == [TrialState.STOPPED] * 2
    assert all("accuracy" in trial.metrics for trial in trials)
    assert (state, said) == ("succeeded", "Experiment has succeeded because stopped: enough")


def test_stopped_trials_rest_when_they_have_ended(make_engine, cluster):
    engine = make_engine(training=LONG, budget="{trials: 9, parallel: 2}")
    threading.Timer(2.0, lambda: engine.stop("enough")).start()
    follow(engine)
    while len(cluster.exits.keys() & {"toy-0000", "toy-0001"}) < 2:
        time.sleep(0.05)
    ended = cluster.list(TRIALS, "hpo")["items"]
    time.sleep(0.5)
    assert cluster.list(TRIALS, "hpo")["items"] == ended


def test_a_trial_that_is_killed_is_lost_and_explained(make_engine, server):
    engine = make_engine(training=LONG, budget="{trials: 1, max_failed: 0}")
    while "toy-0000" not in server.pids:
        time.sleep(0.05)
    time.sleep(0.5)
    server.kill("toy-0000", 9)
    (trial,), state, _ = follow(engine)
    assert state == "failed"
    assert "it was killed (SIGKILL)" in trial.reason


def test_a_deleted_experiment_ends_the_run(make_engine, cluster):
    engine = make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    threading.Timer(1.0, lambda: delete(cluster, "hpo", "toy")).start()
    with pytest.raises(BackendError, match="the experiment was deleted"):
        follow(engine)


def test_deleting_leaves_nothing_in_the_cluster(make_engine, cluster):
    make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    while not cluster.list(TRIALS, "hpo")["items"]:
        time.sleep(0.05)
    assert delete(cluster, "hpo", "toy")
    assert files(cluster) == []
    assert not [name for kind, name in cluster.objects if kind == "secrets"]
    assert not delete(cluster, "hpo", "toy")


def test_deleting_takes_the_files_of_jobs_along(make_engine, cluster, write_for_cluster):
    """A run that ended while its data were prepared has no experiment, but a file."""
    cluster.create(CONFIG_MAPS, "hpo", config_map(load(write_for_cluster())))
    assert delete(cluster, "hpo", "toy")
    assert files(cluster) == []


def test_an_experiment_owns_its_file_and_its_token(make_engine, cluster):
    make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    uid = cluster.get(EXPERIMENTS, "hpo", "toy")["metadata"]["uid"]
    owned = [
        cluster.get(SECRETS, "hpo", "toy-token"),
        cluster.list(CONFIG_MAPS, "hpo", labels="hpo-pipeline/experiment=toy")["items"][0],
    ]
    assert [item["metadata"]["ownerReferences"][0]["uid"] for item in owned] == [uid, uid]


def test_everything_that_a_run_makes_carries_its_id(cluster, write_for_cluster, tmp_path):
    experiment = load(write_for_cluster(budget="{trials: 1}"))
    folder = RunFolder(tmp_path / "run")
    context = RunContext(experiment, folder, Lines(), cluster=cluster, log_format="json")
    with folder.locked(), Interruption().installed() as interruption:
        run_id = folder.run_id()
        with open_engine("katib", context) as engine:
            engine.search((), interruption)
            engine.run([prepare_job()], interruption)
    kinds = (EXPERIMENTS, CONFIG_MAPS, SECRETS, JOBS)
    found = [item for kind in kinds for item in cluster.list(kind, "hpo")["items"]]
    jobs = [item for item in found if "template" in item.get("spec", {})]
    pods = [item["spec"]["template"] for item in jobs]
    assert len(pods) == 2  # of the trial, whose job Katib makes from its template, and of the data
    ours = [item for item in found if "kind" in item]  # the other is Katib's own
    made = [item for item in ours if item["metadata"]["name"] != "toy-0000"]
    assert {item["metadata"]["labels"]["hpo-pipeline/run"] for item in [*made, *pods]} == {run_id}
    variables = {e["name"]: e.get("value") for e in pods[0]["spec"]["containers"][0]["env"]}
    assert variables["HPO_RUN_ID"] == run_id
    notes = cluster.get(EXPERIMENTS, "hpo", "toy")["metadata"]["annotations"]
    assert notes["hpo-pipeline/log-format"] == "json"  # which its services read
    assert known_run_id("katib", context) == run_id


def test_a_token_that_was_lost_is_made_anew(make_engine, cluster):
    engine = make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    cluster.delete(SECRETS, "hpo", "toy-token")
    assert not engine.apply()
    token = cluster.get(SECRETS, "hpo", "toy-token")["stringData"]["token"]
    notes = cluster.get(EXPERIMENTS, "hpo", "toy")["metadata"]["annotations"]
    assert notes["hpo-pipeline/token-sha256"] == verifier(token)


def test_a_file_of_another_version_is_refused_in_words(make_engine, cluster):
    make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    (name,) = files(cluster)
    file = cluster.objects["configmaps", name]["data"]
    file["experiment.yaml"] += "later: {key: 1}\n"
    with pytest.raises(BackendError, match="another version of hpo wrote its file") as caught:
        load_experiment(cluster, "hpo", "toy")
    assert "later: unknown key" in str(caught.value)


def test_the_experiment_can_be_read_back_from_the_cluster(make_engine, cluster):
    engine = make_engine(training=LONG, budget="{trials: 2, parallel: 2}")
    assert load_experiment(cluster, "hpo", "toy") == engine._experiment


def test_what_the_algorithm_cannot_serve_fails_with_the_reason(cluster, write_for_cluster):
    experiment = load(write_for_cluster())
    config, custom = manifests(experiment)
    custom["spec"]["algorithm"]["algorithmSettings"] = [{"name": "sigma", "value": "2"}]
    cluster.create(CONFIG_MAPS, "hpo", config)
    cluster.create(EXPERIMENTS, "hpo", custom)
    trials, state, said = follow(RemoteExperiment(experiment, cluster, progress=Lines()))
    assert (trials, state) == ([], "failed")
    assert "search.random.settings.sigma" in said


def test_a_population_goes_on_from_the_checkpoints_of_its_parents(make_engine):
    engine = make_engine(
        search="{algorithm: pbt, settings: {population: 2}}",
        budget="{trials: 4, parallel: 2}",
        training="{num_train_epochs: 4, per_device_train_batch_size: 8}",
    )
    trials, _, _ = follow(engine)
    assert states(trials) == [TrialState.SUCCEEDED] * 4
    assert [t.parent for t in trials[:2]] == [None, None]
    assert all(t.parent in (0, 1) for t in trials[2:])
    assert [point.epoch for point in trials[3].curve] == [3.0, 4.0]


def test_several_objectives_have_a_front(make_engine):
    engine = make_engine(
        objective="[{metric: loss, goal: minimize}, {metric: parameters_m, goal: minimize}]",
        space="{learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}, "
        "model.num_hidden_layers: {type: int, low: 1, high: 2}}",
        search="{algorithm: nsga2, seed: 1, settings: {population: 2}}",
        budget="{trials: 4, parallel: 2}",
    )
    trials, _, _ = follow(engine)
    assert all({"loss", "parameters_m"} <= t.metrics.keys() for t in trials)


def test_a_formula_is_computed_by_the_trial(make_engine):
    score = "accuracy - 0.001 * latency_p50_ms"
    engine = make_engine(objective=f'{{score: "{score}", goal: maximize}}')
    trials, _, _ = follow(engine)
    for trial in trials:
        expected = trial.metrics["accuracy"] - 0.001 * trial.metrics["latency_p50_ms"]
        assert trial.metrics["score"] == pytest.approx(expected)
        # What is no metric comes from the last line of the log.
        low, high = trial.intervals["latency_p50_ms"]
        assert 0 < low <= trial.metrics["latency_p50_ms"] <= high
        assert trial.environment["timed in"].endswith("fresh processes")
        assert trial.training_steps == 45


def test_a_parameter_counts_only_under_its_condition(make_engine):
    engine = make_engine(
        space="{optim: {type: choice, values: [adamw_torch, sgd]}, "
        "adam_beta1: {type: float, low: 0.8, high: 0.99, when: {optim: adamw_torch}}}",
        search="{algorithm: random, seed: 4}",
        budget="{trials: 4, parallel: 2}",
    )
    trials, _, _ = follow(engine)
    assert {t.assignments["optim"] for t in trials} == {"adamw_torch", "sgd"}
    for trial in trials:
        assert ("adam_beta1" in trial.assignments) == (trial.assignments["optim"] == "adamw_torch")
