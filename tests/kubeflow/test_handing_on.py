"""What goes from step to step: the run folder without models, and models once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from hpo_pipeline.errors import BackendError, ClusterError, ExperimentError, RegistryError
from hpo_pipeline.kubeflow import steps
from hpo_pipeline.kubeflow.steps.models import ABOUT
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results.outcome import RegistrationResult
from hpo_pipeline.results.run_folder import RunFolder

RUN = "run-1"
WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


def heavy(folder: Path) -> list[str]:
    """Return the files of models below a folder."""
    found = [path for pattern in WEIGHTS for path in folder.rglob(pattern)]
    return [str(path.relative_to(folder)) for path in found]


class Steps:
    """The steps of one run with the engine local, each on a disk that is lost with it."""

    def __init__(self, folder: Path, text: str):
        self.folder = folder
        self.checked = steps.check(text, "local", RUN)
        self.data = folder / "data"
        self.prepared = steps.prepare(self.checked.data, "local", self.data)

    def run(self) -> None:
        at, data = self.folder, self.data
        text, first, second = self.checked.experiment, at / "models-1", at / "models-2"
        steps.search(text, "local", at / "1", dataset=data, models=first)
        steps.confirm(at / "1", "local", at / "2", dataset=data, models=second)
        steps.select(at / "2", "local", at / "3")
        self.conclude(first, second)

    def conclude(self, first: Path, second: Path) -> None:
        at, third = self.folder, self.folder / "models-3"
        given = {"dataset": self.data, "earlier": (first, second)}
        steps.gate(at / "3", "local", at / "4", models=third, **given)
        given["earlier"] = (first, second, third)
        self.found = steps.register(at / "4", "local", at / "5", **given)


def test_models_leave_the_search_once_and_the_winner_is_registered(write_experiment, tmp_path):
    text = write_experiment(budget="{trials: 2, parallel: 2, keep: 2}", register="{model: toy}")
    run = Steps(tmp_path, text.read_text("utf-8"))
    run.run()
    assert run.found.title == "toy version 1"
    assert len(heavy(tmp_path / "models-1")) == 2
    for step in "23":
        about = json.loads((tmp_path / f"models-{step}" / ABOUT).read_text())
        assert about == {"models": [], "where": "no model was trained or kept here"}
    for step in "12345":
        assert heavy(tmp_path / step) == []
        assert not (tmp_path / step / "lock").exists()
        assert not any(path.is_symlink() for path in (tmp_path / step).rglob("*"))
    assert len(RunFolder(tmp_path / "5").evaluations()) == 1  # measured by the gate, not again
    (record,) = open_registry().versions("toy")
    assert (Path(urlsplit(record.model_uri).path) / "model.safetensors").exists()
    assert "dataset" not in run.prepared  # a path that is lost with the pod


def test_a_confirmed_winner_takes_its_model_from_the_step_that_trained_it(
    write_experiment, tmp_path
):
    text = write_experiment(
        budget="{trials: 2, parallel: 2}", confirm="{top: 1, seeds: 2}", register="{model: toy}"
    )
    run = Steps(tmp_path, text.read_text("utf-8"))
    run.run()
    assert run.found.title == "toy version 1"
    trained = json.loads((tmp_path / "models-2" / ABOUT).read_text())["models"]
    assert trained
    assert all(name.startswith("confirm/trials/") for name in trained)
    assert heavy(tmp_path / "5") == []


def test_a_winner_whose_model_was_not_kept_is_trained_again_and_handed_on(toy_run):
    run, tmp_path = toy_run
    shutil.rmtree(next((tmp_path / "models-1").glob("trials/*/model")))
    run.conclude(tmp_path / "models-1", tmp_path / "models-1")
    assert len(heavy(tmp_path / "models-3")) == 1
    assert run.found.title == "toy version 1"


def test_models_on_a_volume_stay_there(write_experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_RUNS", str(tmp_path / "volume"))
    text = write_experiment(budget="{trials: 2, parallel: 2, keep: 2}", register="{model: toy}")
    run = Steps(tmp_path, text.read_text("utf-8"))
    run.run()
    assert heavy(tmp_path / "models-1") == heavy(tmp_path / "5") == []
    assert len(heavy(tmp_path / "volume")) == 3  # of both trials, and the winner's copy
    about = json.loads((tmp_path / "models-1" / ABOUT).read_text())
    assert str(tmp_path / "volume") in about["where"]
    assert run.found.title == "toy version 1"


@pytest.fixture
def ended(toy_run):
    """The folder of a run that has a winner, and an artifact Model of Kubeflow Pipelines."""
    _, folder = toy_run
    path = str(folder / "artifact" / "model")
    return folder, SimpleNamespace(path=path, uri="minio://bucket/model", metadata={})


@pytest.fixture
def toy_run(write_experiment, tmp_path) -> tuple[Steps, Path]:
    """A run up to its winner, and its folder."""
    text = write_experiment(budget="{trials: 1, parallel: 1}", register="{model: toy}")
    run = Steps(tmp_path, text.read_text("utf-8"))
    first = tmp_path / "models-1"
    steps.search(run.checked.experiment, "local", tmp_path / "1", dataset=run.data, models=first)
    steps.select(tmp_path / "1", "local", tmp_path / "3")
    return run, tmp_path


def test_the_artifact_model_is_written_whatever_was_registered_where(ended, monkeypatch):
    folder, model = ended
    given = {"earlier": [folder / "models-1"]}
    assert steps.shown_model(None, folder / "3", model, **given) == ""
    about = json.loads(Path(model.path).read_text())
    assert about["model"].startswith("trials/")
    assert about["model"].endswith("/model in the artifact models of the step search")
    monkeypatch.setenv("HPO_REGISTRY", "kubeflow://registry:8080")
    for uri in ("s3://elsewhere/toy/1", "models:/toy/1", "file:///storage/models/toy/1"):
        found = RegistrationResult("toy", 1, True, "the first", uri)
        assert steps.shown_model(found, folder / "3", model, **given) == "toy version 1"
        about = json.loads(Path(model.path).read_text())
        assert (about["model"], about["version"], about["champion"]) == (uri, 1, True)
        assert model.metadata["registry"] == "kubeflow://registry:8080"
        assert model.uri == "minio://bucket/model"  # Kubeflow Pipelines' own


def test_gpus_that_a_step_holds_are_refused_on_katib(write_for_cluster, tmp_path):
    text = write_for_cluster().read_text("utf-8")
    with pytest.raises(
        ExperimentError, match=r"gpus: is for the engine local, got 2.*cluster.gpus"
    ):
        steps.check(text, "katib", RUN, gpus=2)
    pods = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    with pytest.raises(BackendError, match=r"set none on the step, and cluster.gpus: 2"):
        steps.search(text, "katib", tmp_path / "1", pods=pods)


def test_an_unused_parameter_for_gpus_leaves_those_of_the_experiment(write_for_cluster):
    from hpo_pipeline.kubeflow.steps.experiment_text import read_text
    from hpo_pipeline.kubeflow.steps.stages import _with_pods

    experiment = read_text(write_for_cluster(cluster="{gpus: 1}").read_text("utf-8"))
    limits = {"limits": {"nvidia.com/gpu": "0"}}
    assert _with_pods(experiment, {"resources": limits}).cluster.gpus == 1
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    found = _with_pods(experiment, {"resources": limits, "tolerations": tolerations})
    assert (found.cluster.gpus, found.cluster.tolerations[0].key) == (1, "gpu")


def test_a_registry_that_does_not_answer_is_found_before_the_search(write_experiment):
    text = write_experiment(register="{model: toy}").read_text("utf-8")
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1"):
        steps.check(text, "local", RUN, registry="kubeflow://127.0.0.1:1")


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "RUNNING", "CANCELED"])
def test_winding_up_says_nothing_that_it_does_not_know(tmp_path, status):
    page = tmp_path / "page.md"
    assert not steps.wind_up("name: x", "local", RUN, status=status, leaderboard=page)
    said = page.read_text("utf-8")
    assert "None" not in said
    assert "RUNNING" not in said
    assert ("has succeeded" in said) == (status == "SUCCEEDED")


def test_winding_up_names_the_permission_that_it_lacks(write_for_cluster, cluster, tmp_path):
    text, page = write_for_cluster().read_text("utf-8"), tmp_path / "page.md"
    cluster.fail_next(ClusterError('jobs is forbidden: User "pipeline-runner"', status=403))
    with pytest.raises(BackendError, match=r"pipeline-runner.*bind the Role hpo-runner"):
        steps.wind_up(text, "katib", RUN, status="FAILED", leaderboard=page, api=cluster)
    assert "first step that failed" in page.read_text("utf-8")
