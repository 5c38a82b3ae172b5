"""Preparing data once, by whichever trial comes first."""

import json
import multiprocessing
import os
import time

import pytest

from hpo_pipeline.data import lock as locks
from hpo_pipeline.data.prepare_once import dataset_key, prepared_once
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.experiment.loading import load


def prepare_in_process(arguments):
    file, folder = arguments
    return str(prepared_once(load(file), folder))


def test_of_several_that_come_at_once_one_prepares(write_experiment, tmp_path):
    jobs = [(write_experiment(), tmp_path / "data")] * 4
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        folders = pool.map(prepare_in_process, jobs)
    assert len(set(folders)) == 1
    assert not list((tmp_path / "data").glob("*.lock"))


def test_what_is_there_is_found_without_reading_the_data(write_experiment, tmp_path, sentences):
    experiment = load(write_experiment())
    folder = prepared_once(experiment, tmp_path / "data")
    start = time.perf_counter()
    assert prepared_once(experiment, tmp_path / "data") == folder
    assert time.perf_counter() - start < 0.05


def test_changed_data_are_prepared_again(write_experiment, tmp_path, sentences):
    text = sentences.read_text("utf-8")
    own = tmp_path / "own.csv"
    own.write_text(text, "utf-8")
    file = write_experiment()
    file.write_text(file.read_text("utf-8").replace(str(sentences), str(own)), "utf-8")
    before = prepared_once(load(file), tmp_path / "data")
    own.write_text(text + "a great new sentence,positive\n", "utf-8")
    assert prepared_once(load(file), tmp_path / "data") != before


def test_the_lock_of_a_dead_trial_is_taken_over(write_experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "DEAD_SECONDS", 1.0)
    experiment, data = load(write_experiment()), tmp_path / "data"
    data.mkdir()
    name = f".{dataset_key(experiment)}.lock"
    (data / name).touch()
    os.utime(data / name, (0, 0))
    assert prepared_once(experiment, data).is_dir()


def test_the_lock_of_a_dead_trial_with_a_fast_clock_is_taken_over(write_experiment, tmp_path):
    experiment, data = load(write_experiment()), tmp_path / "data"
    data.mkdir()
    lock = data / f".{dataset_key(experiment)}.lock"
    lock.touch()
    os.utime(lock, (time.time() + 1e6, time.time() + 1e6))
    assert prepared_once(experiment, data).is_dir()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"dataset": 3}', '{"dataset": "../elsewhere"}']
)
def test_a_broken_pointer_is_replaced(write_experiment, tmp_path, content):
    experiment, data = load(write_experiment()), tmp_path / "data"
    folder = prepared_once(experiment, data)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "dataset.json").write_text("{}")
    pointer = data / f".{dataset_key(experiment)}.json"
    pointer.write_text(content)
    assert prepared_once(experiment, data) == folder
    assert json.loads(pointer.read_text()) == {"dataset": folder.name}


def test_data_changed_behind_the_same_size_and_time_are_other_data(write_experiment, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("text,label\na good day,up\n")
    task = f"{{kind: text-classification, model: m, data: {own}}}"
    experiment = load(write_experiment(task=task))
    before, state = dataset_key(experiment), own.stat()
    own.write_text("text,label\na nice day,up\n")
    os.utime(own, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert own.stat().st_size == state.st_size
    assert dataset_key(experiment) != before


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "far").mkdir()
    return UriStorage(f"file://{tmp_path}/far")


def test_a_dataset_is_stored_once_and_fetched_by_others(write_experiment, tmp_path, storage):
    experiment = load(write_experiment())
    one = storage.dataset(experiment, tmp_path / "one", prepared_once)

    def refuse(*arguments):
        raise AssertionError("it is there already")

    other = storage.dataset(experiment, tmp_path / "other", refuse)
    files = [sorted(f.relative_to(d) for f in d.rglob("*") if f.is_file()) for d in (one, other)]
    assert files[0] == files[1]


def test_the_folder_of_a_trial_comes_back_as_it_was(tmp_path, storage):
    folder = tmp_path / "runs" / "toy" / "trials" / "toy-0000"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(b"1")
    (folder / "result.json").write_text("{}")
    storage.put(folder)
    (folder / "model" / "weights").unlink()
    storage.fetch(folder)
    assert (folder / "model" / "weights").read_bytes() == b"1"


def test_models_that_are_not_kept_are_removed(tmp_path, storage):
    place = tmp_path / "runs" / "toy" / "trials"
    for name in ("toy-0000", "toy-0001"):
        (place / name / "model").mkdir(parents=True)
        (place / name / "model" / "weights").write_bytes(b"1")
        (place / name / "result.json").write_text("{}")
        storage.put(place / name)
    storage.forget(place, {"toy-0001"}, ("model", "checkpoint"))
    left = sorted(
        f.relative_to(tmp_path / "far").as_posix() for f in (tmp_path / "far").rglob("*.*")
    )
    assert left == [f"runs/toy/trials/toy-000{i}/result.json" for i in (0, 1)]
    assert not (tmp_path / "far/runs/toy/trials/toy-0000/model").exists()
    assert (tmp_path / "far/runs/toy/trials/toy-0001/model/weights").exists()
