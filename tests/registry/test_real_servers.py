"""The contract on real servers, where the environment names them.

HPO_MLFLOW=mlflow://HOST:PORT                pytest -m e2e tests/registry
HPO_MODEL_REGISTRY=kubeflow://HOST:PORT      pytest -m e2e tests/registry
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpo_pipeline.registry import Registry
from tests.registry.contract import Add, Promote, RegistryContract

pytestmark = pytest.mark.e2e


def server(variable: str) -> str:
    uri = os.environ.get(variable)
    if not uri:
        pytest.skip(f"{variable} is not set")
    return uri


class TestRealMlflow(RegistryContract):
    @pytest.fixture
    def uri(self) -> str:
        return server("HPO_MLFLOW")

    def test_aliases_on_the_server(self, uri: str, name: str, add: Add, promote: Promote) -> None:
        from mlflow import MlflowClient

        add("a", "b")
        promote(1)
        url = uri.replace("mlflow", "http", 1)
        found = MlflowClient(url, url).get_registered_model(name)
        assert found.aliases == {"champion": "1", "candidate": "2"}


class TestRealModelRegistry(RegistryContract):
    many = 120  # more than a page

    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        return f"{server('HPO_MODEL_REGISTRY')}?store={tmp_path}/store&public=pvc://claim/models"

    def test_kubeflows_own_client_reads_it(
        self, registry: Registry, uri: str, name: str, add: Add, promote: Promote
    ) -> None:
        model_registry = pytest.importorskip("model_registry")
        (record,) = add("a")
        promote(1)
        host, port = uri.partition("?")[0].rsplit(":", 1)
        client = model_registry.ModelRegistry(
            host.replace("kubeflow", "http", 1),
            int(port),
            author="test",
            is_secure=False,
            user_token="not sent",
        )
        assert client.get_registered_model(name).custom_properties["champion"] == "1"
        assert client.get_model_version(name, "1").custom_properties["data_hash"] == "data"
        assert client.get_model_artifact(name, "1").uri == record.model_uri
