"""The table of drivers: one file and one row make a registry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import DRIVERS, check_uri, open_registry, preflight
from hpo_pipeline.registry.record import Stage, folder_sha256
from tests.registry.contract import make_candidate, make_model
from tests.registry.toy_driver import ToyDriver


def test_a_driver_is_one_file_and_one_row(tmp_path: Path) -> None:
    drivers, uri = {**DRIVERS, "toy": ToyDriver()}, f"toy://{tmp_path}/toy"
    model = make_model(tmp_path / "model")
    preflight(of_file=uri, drivers=drivers)
    registry = open_registry(of_file=uri, drivers=drivers)
    record = registry.register(make_candidate(model, "tweets"), model)
    assert registry.promote("tweets", record.version, expected=None, reason="the first")
    again = open_registry(uri, drivers=drivers)
    assert again.get("tweets", "champion").stage is Stage.CHAMPION
    assert folder_sha256(again.fetch(record, tmp_path)) == record.model_sha256


def test_a_new_row_is_named_where_a_scheme_is_unknown() -> None:
    drivers = {**DRIVERS, "toy": ToyDriver()}
    with pytest.raises(RegistryError, match=r"must be .*, toy:///FOLDER; got the scheme 'wandb'"):
        check_uri("wandb://host", drivers=drivers)
    with pytest.raises(RegistryError, match="must be toy:///FOLDER, got 'toy://here'"):
        preflight("toy://here", drivers=drivers)


@pytest.mark.parametrize("uri", ["mlflow://127.0.0.1:9", "kubeflow://127.0.0.1:9?store=models"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_server_that_is_down_is_found_before_a_search(
    uri: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if uri.startswith("mlflow"):
        pytest.importorskip("mlflow")
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:9: .* cannot be reached"):
        preflight(uri, elsewhere=elsewhere)


def test_the_table_imports_no_client() -> None:
    code = (
        "import sys, hpo_pipeline.registry; print([m for m in ('mlflow', 'fsspec', 'kubernetes', "
    )
    code += "'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
