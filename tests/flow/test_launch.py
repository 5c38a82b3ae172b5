"""The whole run on a cluster: what comes after the search, and coming back to it."""

from __future__ import annotations

import json

import pytest

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.katib.engine import KatibEngine
from hpo_pipeline.engines.katib.names import DATA_ANNOTATION
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, JOBS
from hpo_pipeline.errors import BackendError, DataError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.flow.launch import launch
from hpo_pipeline.flow.stages import Flow
from hpo_pipeline.jobs.commands import train_job
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results.job import Job
from hpo_pipeline.results.run_folder import RunFolder
from tests.engines.test_local import Lines

CONFIRMED = {
    "budget": "{trials: 2, parallel: 2}",
    "confirm": "{top: 1, seeds: 2}",
    "register": "{model: toy}",
}


@pytest.fixture
def there(cluster, tmp_path):
    """Return a function that runs an experiment file on the cluster."""

    def run(file, folder="run"):
        run_folder = RunFolder(tmp_path / folder)
        context = RunContext(load(file), run_folder, Lines(), source=file, cluster=cluster)
        return launch("katib", context)

    return run


def jobs(cluster):
    return {item["metadata"]["name"] for item in cluster.list(JOBS, "hpo")["items"]}


def test_a_run_on_a_cluster_ends_with_a_champion_in_the_storage(
    there,
    cluster,
    write_for_cluster,
    tmp_path,
):
    file = write_for_cluster(**CONFIRMED)
    result = there(file)
    assert result.state == "succeeded"
    assert len(result.confirmed[0].seeds) == 2
    winner = result.winner
    assert winner.run in {f"{winner.name}-s{seed}" for seed in (2, 3)}
    assert winner.test["accuracy"] > 0.4
    assert winner.registered == "toy version 1"
    champion = open_registry(str(cluster.storage / "models")).champion("toy")
    assert champion.trial == winner.run
    assert champion.image_digest == "hpo-trial@sha256:1"
    assert (cluster.storage / "runs" / "toy" / "model" / "README.md").is_file()
    models = {path.parent.name for path in (cluster.storage / "runs" / "toy").glob("*/*/*/model")}
    models |= {path.parent.name for path in (cluster.storage / "runs" / "toy").glob("*/*/model")}
    assert len(models) == 2  # the winner's, and that of the search's best (budget.keep)
    state = RunFolder(tmp_path / "run").state()
    assert sum(map(sum, state.gate.evaluation.confusion)) == 60
    notes = cluster.get(EXPERIMENTS, "hpo", "toy")["metadata"]["annotations"]
    assert state.data_fingerprint == notes[DATA_ANNOTATION] == state.gate.fingerprint

    # From another folder, as after the loss of this one: nothing is done again.
    before = jobs(cluster)
    assert there(file, "again").winner == winner
    assert jobs(cluster) == before
    assert len(open_registry(str(cluster.storage / "models")).versions("toy")) == 1


def test_a_run_whose_data_have_changed_is_refused(cluster, write_for_cluster, tmp_path):
    folder = RunFolder(tmp_path / "run")
    context = RunContext(load(write_for_cluster()), folder, Lines(), cluster=cluster)
    folder.path.mkdir()
    folder.update(data_fingerprint="of the data before")
    train = train_job("toy-0000-s2", number=0, seed=2, assignments={"learning_rate": 0.01})
    with Interruption().installed() as interruption:
        (output,) = KatibEngine(context).run([train], interruption)
    assert output.answer["state"] == "failed"
    assert "have changed since this run was started" in output.answer["reason"]


def test_a_job_that_failed_says_why_and_is_tried_again(
    cluster,
    write_for_cluster,
    tmp_path,
):
    experiment = load(write_for_cluster())
    hidden = cluster.storage / "sentences.csv"
    target = hidden.readlink()
    hidden.unlink()
    folder = RunFolder(tmp_path / "run")
    engine = KatibEngine(RunContext(experiment, folder, Lines(), cluster=cluster))
    job = Job("prepare", "prepare", ("--shared",))
    with Interruption().installed() as interruption:
        (output,) = engine.run([job], interruption)
        with pytest.raises(DataError, match=r"there is no .*sentences.csv"):
            output.result()
        hidden.symlink_to(target)
        (output,) = engine.run([job], interruption)
        assert output.result()["rows"] == {"train": 120, "validation": 40, "test": 60}


def test_a_search_without_a_winner_ends_with_the_reasons(write_for_cluster, there):
    file = write_for_cluster(
        space="{model.num_attention_heads: {type: choice, values: [3, 5]}}",
        budget="{trials: 2, parallel: 2, max_failed: 5}",
        register="{model: toy}",
    )
    result = there(file)
    assert result.state == "failed"
    assert "the model cannot be built" in result.reason


def test_no_winner_is_gated_before_one_is_selected(tmp_path, write_experiment):
    folder = RunFolder(tmp_path / "run")
    folder.trials.mkdir(parents=True)
    experiment = load(write_experiment())
    folder.adopt(experiment)
    flow = Flow(RunContext(experiment, folder, Lines()), engine=None)  # type: ignore[arg-type]
    with Interruption().installed() as interruption, pytest.raises(BackendError, match="no winner"):
        flow.gate(interruption)


def test_stop_ends_what_runs_and_says_whether_there_was_something(
    cluster,
    write_for_cluster,
    tmp_path,
):
    experiment = load(write_for_cluster())
    folder = RunFolder(tmp_path / "run")
    engine = KatibEngine(RunContext(experiment, folder, Lines(), cluster=cluster))
    assert not engine.stop("enough")
    assert json.dumps(sorted(jobs(cluster))) == "[]"
