"""The MLflow driver on a fake server, through the real client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import open_registry, preflight
from hpo_pipeline.registry.server.driver import EntryStore, ServedRegistry
from hpo_pipeline.registry.server.mlflow import SETTINGS
from hpo_pipeline.registry.server.mlflow_store import MlflowStore
from tests.registry.contract import Add, make_candidate
from tests.registry.fake_mlflow import FakeMlflow
from tests.registry.fake_server import Reply, served
from tests.registry.served_contract import ServedContract


class TestMlflow(ServedContract):
    @pytest.fixture(autouse=True)
    def settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**SETTINGS, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")

    @pytest.fixture
    def fake(self) -> FakeMlflow:
        return FakeMlflow()

    @pytest.fixture
    def address(self, fake: FakeMlflow) -> Iterator[str]:
        with served(fake) as address:
            yield address

    @pytest.fixture
    def uri(self, address: str) -> str:
        return f"mlflow://{address}"

    @pytest.fixture
    def place(self, address: str) -> EntryStore:
        place = MlflowStore(f"http://{address}", {})
        place.patience = 0.0
        return place

    def check_aliases(
        self, place: EntryStore, name: str, champion: int | None, candidate: int | None
    ) -> None:
        assert isinstance(place, MlflowStore)
        wanted = {"champion": champion, "candidate": candidate}
        have = place._client.get_registered_model(name).aliases
        assert have == {alias: str(version) for alias, version in wanted.items() if version}

    def shown(self, fake: FakeMlflow, name: str) -> int:
        runs = (run for run in fake.runs.values() if "hpo-pipeline.key" in run["tags"])
        active = [run for run in runs if run["info"]["lifecycle_stage"] == "active"]
        return max(len(active), len(fake.models[name]["versions"]))

    def damage(self, fake: FakeMlflow, folder: Path) -> None:
        for path in fake.files:
            fake.files[path] += b"damage"

    def test_what_people_see_in_mlflow(self, fake: FakeMlflow, add: Add, name: str) -> None:
        add("a")
        (version,) = fake.models[name]["versions"].values()
        tags = {tag["key"]: tag["value"] for tag in version["tags"]}
        assert tags["data_hash"] == "data"
        assert tags["seeds"] == "rows=0 search=1 training=2"
        run = fake.runs[version["run_id"]]
        assert run["info"]["status"] == "FINISHED"
        assert run["params"]["learning_rate"] == "0.0003"

    def test_a_run_of_kubeflow_pipelines_is_the_parent(
        self, fake: FakeMlflow, address: str, model: Path, name: str
    ) -> None:
        fake.experiments.append("of the pipeline")
        given = {"MLFLOW_EXPERIMENT_ID": "1", "MLFLOW_RUN_ID": "0" * 32}
        place = MlflowStore(f"http://{address}", given)
        ServedRegistry(place).register(make_candidate(model, name), model)
        (run,) = (run for run in fake.runs.values() if "hpo-pipeline.key" in run["tags"])
        assert run["info"]["experiment_id"] == "1"
        assert run["tags"]["mlflow.parentRunId"] == "0" * 32

    def test_aliases_that_collide_are_set_again(self, fake: FakeMlflow, add: Add) -> None:
        fake.collisions = 3
        add("a")
        assert fake.collisions == 0

    def test_a_model_that_others_made(self, fake: FakeMlflow, add: Add, name: str) -> None:
        fake.models[name] = {"tags": [], "aliases": {}, "versions": {}, "last": 0}
        with pytest.raises(RegistryError, match=r"choose another name for register\.model"):
            add("a")

    def test_a_history_that_was_deleted(self, fake: FakeMlflow, add: Add, name: str) -> None:
        add("a")
        fake.runs[fake.models[name]["tags"][0]["value"]]["info"]["lifecycle_stage"] = "deleted"
        with pytest.raises(RegistryError, match="must be in the 'active' state"):
            add("b")

    def test_the_token_of_the_environment_is_sent(
        self, fake: FakeMlflow, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
        open_registry(uri).names()
        assert fake.headers["Authorization"] == "Bearer secret"

    def test_a_server_that_only_the_experiment_names_gets_no_credentials(
        self, fake: FakeMlflow, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
        with pytest.raises(RegistryError, match=r"MLFLOW_TRACKING_TOKEN; .*or give --registry"):
            open_registry(of_file=uri)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("mlflow", "http"))
        open_registry(of_file=uri).names()
        assert fake.headers["Authorization"] == "Bearer secret"

    def test_a_redirect_is_not_followed(
        self, fake: FakeMlflow, uri: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
        fake.refusal = 302
        with pytest.raises(RegistryError, match="MLflow must answer"):
            open_registry(uri).champion(name)
        assert fake.asked == [asked for asked in fake.asked if "/login" not in asked]

    def test_a_server_of_a_stranger_writes_no_files_here(
        self, fake: FakeMlflow, address: str, model: Path, name: str, tmp_path: Path
    ) -> None:
        created = fake.runs_create

        def elsewhere(content: dict[str, Any]) -> Reply:
            status, reply = created(content)
            reply["run"]["info"]["artifact_uri"] = str(tmp_path / "elsewhere")
            return status, reply

        fake.runs_create = elsewhere  # type: ignore[method-assign]
        registry = ServedRegistry(MlflowStore(f"http://{address}", {}, is_trusted=False))
        with pytest.raises(RegistryError, match="in a folder of this machine"):
            registry.register(make_candidate(model, name), model)
        assert not (tmp_path / "elsewhere").exists()

    def test_what_can_be_found_before_a_search(
        self, fake: FakeMlflow, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        preflight(uri)
        fake.refusal = 403
        preflight(uri, elsewhere=True)
        with pytest.raises(RegistryError, match="set MLFLOW_TRACKING_TOKEN"):
            preflight(uri)

    def test_a_wrong_token(self, fake: FakeMlflow, uri: str, name: str) -> None:
        fake.refusal = 401
        with pytest.raises(RegistryError, match=r"http://127.* 401 .*set MLFLOW_TRACKING_TOKEN"):
            open_registry(uri).champion(name)


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hpo_pipeline.registry.server.mlflow_store")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(RegistryError, match=r"pip install 'hpo-pipeline\[mlflow\]'"):
        open_registry("mlflow://host:5000")
