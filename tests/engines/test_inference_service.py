"""A registered model as a KServe InferenceService."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_pipeline.cli.main import main
from hpo_pipeline.engines.kubernetes.inference_service import Serving, inference_service
from hpo_pipeline.engines.kubernetes.pods import work_job
from hpo_pipeline.errors import RegistryError
from hpo_pipeline.experiment.cluster import Cluster
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from hpo_pipeline.registry.record import ModelRecord
from hpo_pipeline.trial.artefact.record import write_record
from tests.registry.contract import make_candidate, make_model
from tests.toys import toy_experiment

STORAGE = "s3://models/tweets/1"


@pytest.fixture
def registry(tmp_path: Path) -> DirectoryRegistry:
    """Return a registry with a champion and a candidate."""
    found = DirectoryRegistry(tmp_path / "models")
    for number in (1, 2):
        folder = make_model(tmp_path / f"model-{number}", f"weights {number}")
        found.register(make_candidate(folder, "tweets", trial=f"t-{number}"), folder)
    name = found.names()[0]
    found.promote(name, 1, expected=None, reason="first")
    return found


def champion(registry: DirectoryRegistry) -> ModelRecord:
    """Return the champion."""
    found = registry.champion(registry.names()[0])
    assert found is not None
    return found


def test_a_service_runs_what_was_measured(registry: DirectoryRegistry) -> None:
    record = replace(champion(registry), model_uri=STORAGE, name="tweets.small")
    serving = Serving(cluster=Cluster(namespace="prod", image="hpo:1", cpu="1"))
    service = inference_service(record, serving)
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert service["metadata"]["name"] == "tweets-small"
    assert service["metadata"]["namespace"] == "prod"
    assert "canaryTrafficPercent" not in predictor
    assert container["name"] == "kserve-container"
    assert container["args"][:2] == ["serve", "/mnt/models"]
    assert {"name": "STORAGE_URI", "value": STORAGE} in container["env"]
    assert container["resources"]["limits"]["cpu"] == "1"


def test_a_canary_gets_its_share(registry: DirectoryRegistry) -> None:
    serving = Serving(canary=10, storage="pvc://models/2", node_selector={"pool": "serving"})
    predictor = inference_service(champion(registry), serving)["spec"]["predictor"]
    assert predictor["canaryTrafficPercent"] == 10
    assert predictor["nodeSelector"] == {"pool": "serving"}


def test_a_model_that_the_cluster_does_not_see_is_refused(registry: DirectoryRegistry) -> None:
    with pytest.raises(RegistryError, match=r"no pod of KServe sees.*--storage-uri"):
        inference_service(champion(registry), Serving())


def test_the_command_prints_the_champion_or_the_candidate(
    registry: DirectoryRegistry, tmp_path: Path, capsys: Any
) -> None:
    name = registry.names()[0]
    place = ["--registry", str(tmp_path / "models"), "--storage-uri", STORAGE]
    for more, version in (([], "1"), (["--canary", "5"], "2")):
        assert main(["render", "--serving", name, *place, *more]) == 0
        service = yaml.safe_load(capsys.readouterr().out)
        assert service["metadata"]["annotations"]["hpo-pipeline/version"] == version
    assert main(["render", "--serving", name, *place, "--canary", "0"]) == 2
    assert "--canary: must be 1 to 100, got 0" in capsys.readouterr().err
    assert main(["render"]) == 2
    assert "name an experiment file, or a model" in capsys.readouterr().err


def test_a_model_of_images_is_refused(
    registry: DirectoryRegistry, tmp_path: Path, capsys: Any
) -> None:
    folder = make_model(tmp_path / "model-3", "weights 3")
    write_record(folder, Serve(), kind="image-classification", max_length=8, lengths=())
    record = registry.register(make_candidate(folder, "digits", trial="t-3"), folder)
    registry.promote("digits", record.version, expected=None, reason="first")
    place = ["--registry", str(tmp_path / "models"), "--storage-uri", STORAGE]
    assert main(["render", "--serving", "digits", *place]) == 2
    assert "takes images, which `hpo serve` does not answer" in capsys.readouterr().err


def test_models_are_measured_where_they_will_be_served() -> None:
    experiment = toy_experiment(
        serve={"node_selector": {"pool": "serving"}}, cluster={"node_selector": {"disk": "ssd"}}
    )
    selectors = []
    for kind in ("train", "promote"):
        job = work_job(experiment, "config", "toy-1", [kind])
        selectors.append(job["spec"]["template"]["spec"]["nodeSelector"])
    assert selectors == [{"disk": "ssd"}, {"disk": "ssd", "pool": "serving"}]
