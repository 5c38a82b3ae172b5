"""What the tests on a real cluster share: its API, experiment files, and a clean namespace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpo_pipeline.engines.kubernetes.api import KubernetesApi
from tests.e2e.experiments import EXPERIMENT, SMALL, remove


@pytest.fixture(scope="module")
def api():
    if "KUBECONFIG" not in os.environ:
        pytest.skip("KUBECONFIG names no cluster")
    return KubernetesApi()


@pytest.fixture
def write(tmp_path):
    """Return a function that writes an experiment file."""

    def write(name="e2e", **sections) -> Path:
        content = {
            "search": "{algorithm: tpe, seed: 0}",
            "stopping": "{algorithm: median, min_trials: 3, start_step: 1}",
            "budget": "{trials: 6, parallel: 2, minutes: 20}",
            "cluster": SMALL,
            "epochs": 3,
        }
        file = tmp_path / f"{name}.yaml"
        file.write_text(EXPERIMENT.format(name=name, **{**content, **sections}), "utf-8")
        return file

    return write


@pytest.fixture
def clean(api):
    """Remove the experiments of a test before and after it."""
    names = ("e2e", "e2e-many", "e2e-bad")
    remove(api, names)
    yield
    remove(api, names)
