"""A Kubeflow Pipelines on loopback, and a tiny pipeline with the parameters of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.compiled import read_compiled
from hpo_pipeline.kubeflow.upload import upload
from tests.kubeflow.fake_kfp import FakeKfp

PARAMETERS = {
    "experiment": {"parameterType": "STRING"},
    "engine": {"parameterType": "STRING", "defaultValue": "katib", "isOptional": True},
    "image": {"parameterType": "STRING", "defaultValue": "hpo-pipeline:dev", "isOptional": True},
    "trials": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0.0, "isOptional": True},
    "parallel": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0.0, "isOptional": True},
}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in the environment names an installation or credentials."""
    for name in ("KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT", "KFP_NAMESPACE", "KFP_CRON_TIMEZONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("KF_PIPELINES_SA_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def kfp(nowhere, monkeypatch: pytest.MonkeyPatch):
    """An installation that KFP_ENDPOINT names, without any pipeline."""
    fake = FakeKfp()
    monkeypatch.setenv("KFP_ENDPOINT", fake.endpoint)
    yield fake
    fake.close()


@pytest.fixture
def uploaded(kfp, compiled) -> FakeKfp:
    """An installation that has our pipeline."""
    upload(Kfp(kfp.endpoint), read_compiled(compiled()), "hpo")
    kfp.calls.clear()
    return kfp


@pytest.fixture
def compiled(tmp_path: Path):
    """Return a function that writes a compiled pipeline; `parameters` replaces some."""

    def write(**parameters: dict[str, object] | None) -> Path:
        merged = {k: v for k, v in {**PARAMETERS, **parameters}.items() if v is not None}
        spec = {
            "pipelineInfo": {"name": "hpo"},
            "root": {"dag": {"tasks": {}}, "inputDefinitions": {"parameters": merged}},
            "schemaVersion": "2.1.0",
            "sdkVersion": "kfp-2.17.0",
        }
        path = tmp_path / "hpo.yaml"
        path.write_text("# PIPELINE DEFINITION\n" + yaml.safe_dump(spec), "utf-8")
        return path

    return write
