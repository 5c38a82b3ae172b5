"""Deleting a run from the storage: its own folder, and nothing else."""

import json

import pytest

from hpo_pipeline.engines.katib.removal import removal_job
from hpo_pipeline.jobs.__main__ import main
from tests.toys import toy_experiment


@pytest.fixture
def storage(tmp_path):
    """A storage with two runs, a dataset and a registered model."""
    for place in ("runs/toy/trials/toy-0000/model", "runs/other/model", "datasets/a", "models/b"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_text("x")
    return tmp_path


def remove(storage, run, *options):
    code = main(["remove", "--run", str(run), "--out", str(storage / "out.json"), *options])
    return code, json.loads((storage / "out.json").read_text())


def left(storage):
    return sorted(p.relative_to(storage).as_posix() for p in storage.rglob("file"))


def test_the_folder_of_the_run_goes_and_all_else_stays(storage):
    assert remove(storage, storage / "runs/toy") == (0, {"removed": True})
    assert left(storage) == ["datasets/a/file", "models/b/file", "runs/other/model/file"]
    assert remove(storage, storage / "runs/toy") == (0, {"removed": False})


def test_a_place_that_fsspec_opens(storage, tmp_path):
    run = "/storage/runs/toy"
    assert remove(storage, run, "--storage", f"file://{storage}") == (0, {"removed": True})
    assert "runs/toy/trials/toy-0000/model/file" not in left(storage)
    assert len(left(storage)) == 3


@pytest.mark.parametrize("run", ["runs", "datasets/a", "runs/..", "runs/toy/trials", "runs/Toy"])
def test_what_is_no_run_is_refused(storage, run):
    code, answer = remove(storage, storage / run)
    assert (code, len(left(storage))) == (2, 4)
    assert "not the folder of a run" in answer["error"]


def test_a_link_is_not_followed(storage):
    (storage / "runs/link").symlink_to(storage / "datasets")
    assert remove(storage, storage / "runs/link") == (0, {"removed": False})
    assert len(left(storage)) == 4


def test_the_pod_sees_the_runs_only():
    job = removal_job(toy_experiment(), "toy-1")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "storage")
    assert (mount["mountPath"], mount["subPath"]) == ("/storage/runs", "runs")
