"""URIs of registries on servers."""

from __future__ import annotations

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import check_uri, open_registry, preflight
from hpo_pipeline.registry.server.address import parse


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("mlflow://host:5000", "http://host:5000"),
        ("mlflows://host", "https://host"),
        ("mlflow+https://host/base/", "https://host/base"),
        ("kubeflow://[::1]:8080", "http://[::1]:8080"),
        ("kubeflows://host", "https://host"),
    ],
)
def test_the_scheme_says_how_it_is_reached(uri: str, url: str) -> None:
    secure = ("mlflows", "mlflow+https", "kubeflows")
    assert parse(uri, secure=secure, credentials="").url == url


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mlflow://", "must be SCHEME://HOST:PORT"),
        ("mlflow://host:port", "must be SCHEME://HOST:PORT"),
        ("mlflow://host:5000?store=x", "options may be none, got store"),
        ("kubeflow://host?shop=x", "options may be store, public, got shop"),
        ("kubeflow://host?public=x", "got no store"),
        ("kubeflow://host?store=ftp://me:hidden@host/x", "store must be without a password"),
        ("kubeflow://host?=", "options may be"),
        ("mlflow://user:hidden@host:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("kubeflows://hidden@host", "HPO_REGISTRY_TOKEN"),
        ("wandb://user:hidden@host", "must be a folder or file:///PATH, mlflow://.* 'wandb'"),
    ],
)
def test_a_wrong_uri(uri: str, message: str) -> None:
    for use in (open_registry, check_uri, preflight):
        with pytest.raises(RegistryError, match=message) as caught:
            use(uri)
        assert "hidden" not in str(caught.value)
