"""The steps of a pipeline, one after the other, on a fake cluster and on this machine."""

from __future__ import annotations

import io
import threading
import time

import pytest
import yaml

from hpo_pipeline.engines.katib import follow_mark
from hpo_pipeline.engines.katib.remote_experiment import RemoteExperiment
from hpo_pipeline.engines.katib.status import is_complete
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, JOBS, TRIALS
from hpo_pipeline.engines.kubernetes.lease import LEASE_ANNOTATION
from hpo_pipeline.engines.kubernetes.pods import WORK_LABEL
from hpo_pipeline.errors import BackendError, ClusterError, ExperimentError
from hpo_pipeline.experiment.cluster import changes_from
from hpo_pipeline.kubeflow import steps
from hpo_pipeline.kubeflow.steps.experiment_text import named, read_text
from hpo_pipeline.registry import open_registry
from hpo_pipeline.reports.terminal import PlainLines
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_names import is_run_of
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_experiment

RUN = "run-1"


@pytest.fixture
def text(write_for_cluster):
    """Return a function that gives the text of a small experiment for the cluster."""

    def make(**sections):
        defaults = {"budget": "{trials: 2, parallel: 2}", "register": "{model: toy}"}
        return write_for_cluster(**{**defaults, **sections}).read_text("utf-8")

    return make


def names(cluster, kind):
    return [item["metadata"]["name"] for item in cluster.list(kind, "hpo")["items"]]


def test_a_run_on_a_cluster_from_step_to_step(text, cluster, tmp_path):
    checked = steps.check(text(), "katib", RUN, trials=3)
    named = yaml.safe_load(checked.experiment)
    assert named["budget"]["trials"] == 3
    assert (
        steps.prepare(checked.data, "katib", tmp_path / "data", api=cluster)["rows"]["test"] == 60
    )

    found = steps.search(checked.experiment, "katib", tmp_path / "1", api=cluster)
    assert found["trials"] == found["succeeded"] == 3
    again = steps.search(checked.experiment, "katib", tmp_path / "retried", api=cluster)
    assert again["best_accuracy"] == found["best_accuracy"]
    assert names(cluster, EXPERIMENTS) == [named["name"]]

    steps.confirm(tmp_path / "1", "katib", tmp_path / "2", api=cluster)
    winner = steps.select(tmp_path / "2", "katib", tmp_path / "3", api=cluster)
    gated = steps.gate(tmp_path / "3", "katib", tmp_path / "4", api=cluster)
    assert gated.promote
    for out in ("5", "retried-5"):
        done = steps.register(tmp_path / "4", "katib", tmp_path / out, run_id=RUN, api=cluster)
        assert (done.title, done.is_champion) == ("toy version 1", True)
    (record,) = open_registry(str(cluster.storage / "models")).versions("toy")
    assert record.trial == winner

    metrics = steps.report(tmp_path / "5", tmp_path / "page.html", tmp_path / "page.md")
    assert metrics["test_accuracy"] == gated.evaluation.metrics["accuracy"]
    assert "**toy version 1**" in (tmp_path / "page.md").read_text("utf-8")
    assert RunFolder(tmp_path / "5").result().state == "succeeded"


def test_a_failed_search_fails_the_step_with_the_reasons(text, cluster, tmp_path):
    heads = "{model.num_attention_heads: {type: choice, values: [3, 5]}}"
    checked = steps.check(text(space=heads), "katib", RUN)
    with pytest.raises(BackendError, match=r"-0000: .*the model cannot be built"):
        steps.search(checked.experiment, "katib", tmp_path / "1", api=cluster)


def test_what_still_runs_is_ended_and_reported_on(text, cluster, tmp_path):
    training = "{num_train_epochs: 100000, per_device_train_batch_size: 8}"
    experiment, page = text(training=training), tmp_path / "page.md"
    checked = steps.check(experiment, "katib", RUN)
    ended = []

    def wind_up():
        while len(cluster.list(TRIALS, "hpo")["items"]) < 2:
            time.sleep(0.1)
        time.sleep(1.0)
        given = {"status": "CANCELLED", "leaderboard": page, "api": cluster}
        ended.append(steps.wind_up(experiment, "katib", RUN, **given))

    thread = threading.Thread(target=wind_up)
    thread.start()
    with pytest.raises(
        BackendError, match=r"cut off after 2 of 2 trials .*the run of the pipeline"
    ):
        steps.search(checked.experiment, "katib", tmp_path / "1", api=cluster)
    thread.join()
    assert ended == [True]
    assert yaml.safe_load(checked.experiment)["name"] in page.read_text("utf-8")


def test_a_retraining_learns_from_the_run_before_it(text, cluster, tmp_path):
    warm = "{algorithm: tpe, seed: 1, warm_start: [toy]}"
    for run_id in ("monday", "tuesday"):
        checked = steps.check(text(search=warm), "katib", run_id)
        steps.search(checked.experiment, "katib", tmp_path / run_id, api=cluster)
    first, second = sorted(
        cluster.list(EXPERIMENTS, "hpo")["items"],
        key=lambda item: item["metadata"]["creationTimestamp"],
    )
    learned = [str(e["spec"]["algorithm"]["algorithmSettings"]) for e in (first, second)]
    assert "'earlier'" not in learned[0]
    rates = [
        t.assignments["learning_rate"] for t in RunFolder(tmp_path / "monday").finished_trials()
    ]
    assert all(repr(rate) in learned[1] for rate in rates)


def test_a_terminated_pipeline_ends_by_itself(text, cluster, tmp_path, monkeypatch):
    """The step is killed at once, and nothing winds up: only the services can end the search."""
    training = "{num_train_epochs: 100000, per_device_train_batch_size: 8}"
    checked = steps.check(text(training=training), "katib", RUN)
    experiment = read_text(checked.experiment)
    progress = PlainLines(experiment, io.StringIO())
    RemoteExperiment(experiment, cluster, progress=progress, needs_follower=True).apply()

    def has_ended() -> bool:
        items = [*cluster.list(TRIALS, "hpo")["items"], *cluster.list(EXPERIMENTS, "hpo")["items"]]
        return len(items) > 1 and all(map(is_complete, items))

    # Before there is a trial, the end of the silence would leave nothing to stop.
    wait_until(lambda: cluster.list(TRIALS, "hpo")["items"], seconds=60)
    monkeypatch.setattr(follow_mark, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(follow_mark, "GRACE_SECONDS", 1.0)  # more than the silence would lie ahead
    # Trials that do not end by themselves take `ending` a minute, its patience and what follows.
    wait_until(has_ended, seconds=120)
    with pytest.raises(BackendError, match="a retry cannot resume it: start a new run"):
        steps.search(checked.experiment, "katib", tmp_path / "retried", api=cluster)
    folder = RunFolder(tmp_path / "retried")
    assert folder.state().ended == "the pipeline that followed it has gone"
    assert {trial.state for trial in folder.finished_trials()} == {TrialState.STOPPED}


def test_what_a_pipeline_starts_is_marked_and_what_a_person_starts_is_not(text, cluster, tmp_path):
    checked = steps.check(text(), "katib", RUN)
    steps.prepare(checked.data, "katib", tmp_path / "data", api=cluster)
    steps.search(checked.experiment, "katib", tmp_path / "1", api=cluster)
    (experiment,) = cluster.list(EXPERIMENTS, "hpo")["items"]
    assert follow_mark.mark_of(experiment)
    assert all(LEASE_ANNOTATION in job["metadata"]["annotations"] for job in work(cluster))
    mine = read_text(text(search="{algorithm: random, seed: 7}"))
    RemoteExperiment(mine, cluster, progress=PlainLines(mine, io.StringIO())).apply()
    assert follow_mark.mark_of(cluster.get(EXPERIMENTS, "hpo", mine.name)) is None


def work(cluster):
    """Return the jobs around the search."""
    jobs = cluster.list(JOBS, "hpo")["items"]
    found = [job for job in jobs if WORK_LABEL in (job["metadata"].get("labels") or {})]
    assert found
    return found


def wait_until(holds, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_winding_up_takes_a_wrong_experiment_as_it_is(tmp_path, cluster):
    page = tmp_path / "page.md"
    assert not steps.wind_up("name: [", "katib", RUN, status="FAILED", leaderboard=page)
    assert "Nothing was started" in page.read_text("utf-8")


def test_a_missing_permission_is_named_with_its_remedy(text, cluster, tmp_path):
    checked = steps.check(text(), "katib", RUN)
    said = 'configmaps is forbidden: User "system:serviceaccount:kubeflow:pipeline-runner"'
    cluster.fail_next(ClusterError(said, status=403))
    with pytest.raises(BackendError, match=r"pipeline-runner.*bind the Role hpo-runner"):
        steps.prepare(checked.data, "katib", tmp_path / "data", api=cluster)


def test_all_faults_of_an_experiment_come_at_once():
    text = "name: x\ntask: {kind: text-classification, model: m, data: /home/me/d.csv}\n"
    text += "objective: {metric: f1, goal: maximize}\nbudget: {trials: 2}\n"
    text += "space: {learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1}}\n"
    with pytest.raises(ExperimentError) as caught:
        steps.check(text, "elsewhere", RUN)
    assert "engine: must be one of local, katib, got 'elsewhere'" in str(caught.value)
    with pytest.raises(
        ExperimentError, match=r"task.data: /home/me/d.csv is a path of this machine"
    ):
        steps.check(text, "katib", RUN)


@pytest.mark.parametrize(("algorithm", "longest"), [("random", 40), ("pbt", 26)])
def test_the_name_of_a_run_is_its_own_and_short_enough(algorithm, longest):
    experiment = toy_experiment(name="a" * 40, search={"algorithm": algorithm})
    one, other = (named(experiment, run).name for run in ("one", "other"))
    assert one == named(experiment, "one").name != other
    assert len(one) <= longest
    assert is_run_of(one, experiment.name)
    assert not is_run_of("a" * 40, experiment.name)


def test_a_registry_on_the_disk_of_a_step_is_refused(write_experiment, monkeypatch):
    monkeypatch.delenv("HPO_REGISTRY")
    text = write_experiment(register="{model: toy}").read_text("utf-8")
    with pytest.raises(ExperimentError, match=r"register.registry: with the engine local"):
        steps.check(text, "local", RUN)
    steps.check(text, "local", RUN, registry="/volume/models")


def test_what_is_set_on_a_step_becomes_the_section_of_the_cluster():
    fragments = {
        "resources": {"limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}},
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "node_selector": {"gpu": "a100"},
        "volumes": None,
    }
    found = toy_experiment(cluster=changes_from(fragments)).cluster
    assert (found.cpu, found.memory, found.gpus) == ("4", "8Gi", 1)
    assert found.env["B"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert found.tolerations[0].key == "nvidia.com/gpu"
    assert found.node_selector == {"gpu": "a100"}


def test_the_work_of_a_step_is_in_one_job(text, cluster, tmp_path):
    checked = steps.check(text(), "katib", RUN)
    for out in ("one", "other"):
        steps.prepare(checked.data, "katib", tmp_path / out, api=cluster)
    assert len(names(cluster, JOBS)) == 1


def test_runs_that_outlive_their_pods_go_on(write_experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_RUNS", str(tmp_path / "kept"))
    text = write_experiment(budget="{trials: 2, parallel: 2}").read_text("utf-8")
    checked = steps.check(text, "local", RUN)
    steps.prepare(checked.data, "local", tmp_path / "data")
    for out in ("one", "other"):
        steps.search(checked.experiment, "local", tmp_path / out, dataset=tmp_path / "data")
    (kept,) = (tmp_path / "kept").iterdir()
    journal = (kept / "journal.log").read_text("utf-8")
    assert (tmp_path / "other" / "journal.log").read_text("utf-8") == journal
    assert len(RunFolder(kept).finished_trials()) == 2
