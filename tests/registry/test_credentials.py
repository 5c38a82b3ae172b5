"""Credentials go to hosts that their owner named: what a listener sees that only a URI names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.jobs.promote import _registry
from hpo_pipeline.registry import open_registry
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.server.address import Address
from hpo_pipeline.registry.server.credentials import is_in_cluster, is_loopback, refusal
from hpo_pipeline.registry.server.kubeflow import _pod_token
from hpo_pipeline.results.job import JobPlaces
from tests.registry.fake_model_registry import FakeModelRegistry
from tests.registry.fake_server import served
from tests.toys import toy_experiment

TOKEN = {"HPO_REGISTRY_TOKEN": "secret"}


@pytest.fixture
def listener() -> FakeModelRegistry:
    return FakeModelRegistry()


@pytest.fixture
def uri(listener: FakeModelRegistry) -> Iterator[str]:
    with served(listener) as address:
        yield f"kubeflow://{address}?store=models"


def test_a_host_that_the_experiment_alone_names_gets_nothing(
    listener: FakeModelRegistry, uri: str
) -> None:
    with pytest.raises(RegistryError, match=r"in HPO_REGISTRY_TOKEN; .*HPO_REGISTRY_TOKEN_HOST="):
        open_registry(of_file=uri, environ=TOKEN)
    open_registry(of_file=uri, environ={}).names()
    assert "Authorization" not in listener.headers


@pytest.mark.parametrize("variable", ["HPO_REGISTRY", "HPO_REGISTRY_TOKEN_HOST", None])
def test_a_host_that_the_user_names_gets_the_token(
    listener: FakeModelRegistry, uri: str, variable: str | None
) -> None:
    if variable is None:
        registry = open_registry(uri, environ=TOKEN)
    else:
        own = uri if variable == "HPO_REGISTRY" else "other.example, 127.0.0.1"
        registry = open_registry(of_file=uri, environ={**TOKEN, variable: own})
    registry.names()
    assert listener.headers["Authorization"] == "Bearer secret"


def test_a_redirect_is_not_followed_with_a_token(listener: FakeModelRegistry, uri: str) -> None:
    listener.refusal = 302
    with pytest.raises(RegistryError, match=r"302 .*check HPO_REGISTRY_TOKEN"):
        open_registry(uri, environ=TOKEN).names()
    assert len(listener.asked) == 1


@pytest.mark.parametrize(
    ("url", "environ", "named", "reason"),
    [
        ("https://host", {}, True, ""),
        ("https://host", {}, False, "only to a host that you name"),
        ("https://host", {"HPO_REGISTRY": "kubeflows://host?store=x"}, False, ""),
        ("https://host", {"HPO_REGISTRY": "kubeflows://HOST:443"}, False, ""),
        ("https://host", {"HPO_REGISTRY": "kubeflows://host:8443"}, False, "host that you name"),
        ("https://host", {"HPO_REGISTRY": "kubeflow://host"}, False, "host that you name"),
        ("https://models", {"HPO_REGISTRY": "models"}, False, "host that you name"),
        ("https://b", {"HPO_REGISTRY": "kubeflows://a?store=a,b"}, False, "host that you name"),
        ("https://host", {"HPO_REGISTRY_TOKEN_HOST": "host:8443"}, False, "host that you name"),
        ("https://host:8443", {"HPO_REGISTRY_TOKEN_HOST": "x,host:8443"}, False, ""),
        ("https://host.evil", {"HPO_REGISTRY_TOKEN_HOST": "host"}, False, "host that you name"),
        ("https://evil.host", {"HPO_REGISTRY_TOKEN_HOST": "host"}, False, "host that you name"),
        ("https://host", {"HPO_REGISTRY_TOKEN_HOST": "[:,"}, False, "host that you name"),
        ("http://host", {}, True, "not sent over plain http: .*HPO_REGISTRY_ALLOW_HTTP=host"),
        ("http://host", {"HPO_REGISTRY_ALLOW_HTTP": "other"}, True, "over plain http"),
        ("http://host", {"HPO_REGISTRY_ALLOW_HTTP": "other, host"}, True, ""),
        ("http://host", {"HPO_REGISTRY_ALLOW_HTTP": "host"}, False, "host that you name"),
        ("http://svc.ns.svc:80", {}, True, "over plain http"),
        ("http://127.0.0.1:5000", {}, True, ""),
        ("http://[::1]:5000", {}, True, ""),
        ("http://localhost", {}, False, "host that you name"),
    ],
)
def test_who_may_get_a_token(url: str, environ: dict[str, str], named: bool, reason: str) -> None:
    found = refusal(Address(url, {}), Access(environ, named))
    assert re.search(reason, found) if reason else not found


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://registry.kubeflow.svc", True),
        ("https://registry.kubeflow.svc.cluster.local:8443", True),
        ("https://registry.kubeflow.svc.", True),
        ("http://registry.kubeflow.svc", False),
        ("https://registry.example", False),
        ("https://registry.kubeflow.svc.example", False),
        ("https://svc", False),
        ("https://kubeflow.svc", False),
    ],
)
def test_the_token_of_a_pod_stays_in_its_cluster(tmp_path: Path, url: str, is_sent: bool) -> None:
    file = tmp_path / "token"
    file.write_text("of the pod\n")
    found = _pod_token(Address(url, {}), {"KF_PIPELINES_SA_TOKEN_PATH": str(file)})
    assert found == ("of the pod" if is_sent else None)


def test_what_counts_as_this_machine_and_as_the_cluster() -> None:
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "LOCALHOST")] == [True] * 3
    assert [is_loopback(host) for host in ("127.0.0.1.evil", "localhost.evil", "")] == [False] * 3
    assert not is_in_cluster("..svc")


def test_a_job_that_gets_the_uri_of_the_file_does_not_count_it_as_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_REGISTRY_TOKEN", "secret")
    uri = "kubeflows://stranger.example?store=models"
    experiment = toy_experiment(register={"model": "toy", "registry": uri})
    places = JobPlaces(tmp_path / "experiment.json", tmp_path / "run", tmp_path / "out")
    for registry in (uri, None):
        with pytest.raises(RegistryError, match="named by the experiment alone"):
            _registry(experiment, replace(places, registry=registry))
    named = replace(places, registry="kubeflows://own.example?store=models")
    assert _registry(experiment, named) is not None
    assert _registry(toy_experiment(), places) is None
