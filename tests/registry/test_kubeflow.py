"""The Model Registry driver on a fake server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import Registry, open_registry, preflight
from hpo_pipeline.registry.server.driver import EntryStore
from hpo_pipeline.registry.server.kubeflow import KubeflowStore
from hpo_pipeline.registry.server.rest import Rest
from hpo_pipeline.registry.server.store import Store
from tests.registry.contract import Add, make_candidate, make_model, pool
from tests.registry.fake_model_registry import FakeModelRegistry
from tests.registry.fake_server import served
from tests.registry.served_contract import ServedContract


class TestKubeflow(ServedContract):
    workers = pool

    @pytest.fixture
    def fake(self) -> FakeModelRegistry:
        return FakeModelRegistry()

    @pytest.fixture
    def address(self, fake: FakeModelRegistry) -> Iterator[str]:
        with served(fake) as address:
            yield address

    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        return tmp_path / "store"

    @pytest.fixture
    def uri(self, address: str, store: Path) -> str:
        return f"kubeflow://{address}?store={store}"

    @pytest.fixture
    def place(self, address: str, store: Path) -> EntryStore:
        rest = Rest(f"http://{address}", token=None, waits=(0.0, 0.0))
        return KubeflowStore(rest, Store(str(store)))

    def check_aliases(
        self, place: EntryStore, name: str, champion: int | None, candidate: int | None
    ) -> None:
        assert isinstance(place, KubeflowStore)
        have = place._known(name)["customProperties"]
        wanted = {"champion": champion, "candidate": candidate}
        found = {alias: have[alias]["string_value"] for alias in wanted if alias in have}
        assert found == {alias: str(version) for alias, version in wanted.items() if version}

    def shown(self, fake: FakeModelRegistry, name: str) -> int:
        models = (o for o in fake.objects if o["kind"] == "registered_models")
        (model,) = (o["id"] for o in models if o["name"] == name)
        versions = sum(o["kind"] == "versions" and o["parent"] == model for o in fake.objects)
        return max(versions, sum(o["kind"] == "artifacts" for o in fake.objects))

    def damage(self, fake: FakeModelRegistry, folder: Path) -> None:
        (file,) = folder.glob("store/*/*/config.json")
        file.write_text("damage")

    def test_what_kserve_reads(self, fake: FakeModelRegistry, address: str, model: Path) -> None:
        uri = f"kubeflow://{address}?store={model.parent}/store&public=pvc://hpo-storage/models/"
        candidate = make_candidate(model, "tweets")
        record = open_registry(uri).register(candidate, model)
        (artifact,) = (o for o in fake.objects if o["kind"] == "artifacts")
        assert artifact["uri"] == f"pvc://hpo-storage/models/tweets/{candidate.model_sha256}"
        assert artifact["uri"] == record.model_uri
        assert (artifact["modelSourceKind"], artifact["modelSourceId"]) == ("kfp", "run-1")

    def test_properties_of_others_are_kept(
        self, fake: FakeModelRegistry, add: Add, name: str
    ) -> None:
        theirs = {"team": {"metadataType": "MetadataStringValue", "string_value": "a"}}
        fake.create("registered_models", {}, f'{{"name": "{name}"}}'.encode())
        fake.objects[0]["customProperties"] = theirs
        add("a")
        assert fake.objects[0]["customProperties"].keys() == {"team", "candidate", "hpo-pipeline"}

    def test_a_lost_answer_does_not_lose_the_entry(
        self, fake: FakeModelRegistry, place: EntryStore, name: str
    ) -> None:
        assert place.append(name, 1, "mine")
        assert place.append(name, 1, "mine")
        assert not place.append(name, 1, "of another")
        assert place.entries(name) == ["mine"]

    def test_without_a_store_it_can_be_read(
        self, address: str, add: Add, name: str, model: Path
    ) -> None:
        (record,) = add("a")
        registry = open_registry(f"kubeflow://{address}")
        assert registry.versions(name) == [record]
        with pytest.raises(RegistryError, match=r"add \?store=FOLDER"):
            registry.register(make_candidate(model, name, "b"), model)

    def test_a_store_that_fsspec_opens(self, address: str, tmp_path: Path) -> None:
        pytest.importorskip("fsspec")
        model = make_model(tmp_path / "model")
        registry = open_registry(f"kubeflow://{address}?store=memory://models")
        record = registry.register(make_candidate(model, "tweets"), model)
        found = registry.fetch(record, tmp_path)
        assert found.parent == tmp_path
        assert (found / "nested" / "model.safetensors").read_text() == "weights"

    def test_a_damaged_store_is_mended_by_another_registration(
        self, fake: FakeModelRegistry, add: Add, tmp_path: Path
    ) -> None:
        add("a")
        self.damage(fake, tmp_path)
        add("b")
        (file,) = tmp_path.glob("store/*/*/config.json")
        assert file.read_text() == "{}"

    def test_a_wrong_path_is_not_taken_for_an_empty_registry(self, address: str) -> None:
        with pytest.raises(RegistryError, match=r"must be a Kubeflow Model Registry, got 404"):
            open_registry(f"kubeflow://{address}/elsewhere?store=x").names()

    def test_the_newest_api_is_spoken(
        self, fake: FakeModelRegistry, registry: Registry, name: str, add: Add
    ) -> None:
        new = {route.replace("v1alpha3", "v1"): method for route, method in fake.routes.items()}
        fake.routes = new
        add("a")
        assert [r.version for r in registry.versions(name)] == [1]

    def test_what_can_be_found_before_a_search(self, fake: FakeModelRegistry, uri: str) -> None:
        preflight(uri)
        fake.refusal = 403
        preflight(uri, elsewhere=True)
        with pytest.raises(RegistryError, match=r"403 .*HPO_REGISTRY_TOKEN"):
            preflight(uri)
        with pytest.raises(RegistryError, match=r"add \?store=FOLDER"):
            preflight(uri.partition("?")[0], elsewhere=True)
        with pytest.raises(RegistryError, match="must be a folder that can be written"):
            preflight(f"{uri.partition('?')[0]}?store={__file__}/models")

    @pytest.mark.parametrize("status", [401, 403, 302])
    def test_a_wrong_token(self, fake: FakeModelRegistry, uri: str, name: str, status: int) -> None:
        fake.refusal = status
        with pytest.raises(RegistryError, match=rf"http://127.* {status} .*HPO_REGISTRY_TOKEN"):
            open_registry(uri).champion(name)
