"""The Python API: the same stages, errors and results as the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

import hpo_pipeline as hpo
from hpo_pipeline.experiment.loading import load


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_bert, sentences):
    """A finished run of an experiment that was built in Python."""
    folder = tmp_path_factory.mktemp("api")
    os.environ["HPO_CACHE"] = str(folder / "cache")
    return hpo.run(experiment(tiny_bert, sentences), folder=folder / "run", quiet=True)


def experiment(model: Path, data: Path, **sections: object) -> hpo.Experiment:
    return hpo.Experiment(
        **{
            "name": "toy",
            "task": {
                "kind": "text-classification",
                "model": str(model),
                "data": str(data),
                "max_length": 12,
                "rows": {"train": 120, "validation": 40, "test": 60},
                "training": {"num_train_epochs": 1, "per_device_train_batch_size": 8},
            },
            "objective": {"metric": "accuracy", "goal": "maximize"},
            "space": {"learning_rate": {"type": "float", "low": 1e-3, "high": 1e-1, "log": True}},
            "search": {"algorithm": "random", "seed": 1},
            "budget": {"trials": 2, "parallel": 2},
            **sections,
        }
    )


def test_an_experiment_built_in_python_equals_that_of_its_file(
    tiny_bert, sentences, tmp_path
) -> None:
    built = experiment(tiny_bert, sentences)
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(built.model_dump(mode="json", by_alias=True, exclude_none=True)))
    assert load(file).identity() == built.identity()


def test_wrong_values_are_told_all_at_once_as_for_a_file() -> None:
    with pytest.raises(hpo.ExperimentError) as caught:
        hpo.Experiment(name="No", task={}, objective={"metric": "f1"}, space={}, budget={})
    text = str(caught.value)
    assert text.startswith("the experiment: ")
    assert len(caught.value.faults) >= 5
    assert "budget.trials: is required" in text


def test_a_section_of_another_experiment_can_be_used_again(tiny_bert, sentences) -> None:
    first = experiment(tiny_bert, sentences)
    other = experiment(tiny_bert, sentences, name="other", task=first.task, space=first.space)
    assert other.task == first.task


def test_check_finds_what_only_transformers_knows(tiny_bert, sentences) -> None:
    task = experiment(tiny_bert, sentences).task.model_dump(mode="json")
    task["training"] = {"optim": "no_such"}
    wrong = experiment(tiny_bert, sentences, task=task)
    with pytest.raises(hpo.ExperimentError, match=r"task.training.*optim.*no_such"):
        hpo.check(wrong)


def test_a_run_gives_its_best_its_trials_and_a_model_that_predicts(done) -> None:
    assert done.state == "succeeded"
    assert done.best is not None
    assert done.best.test["accuracy"] > 0.3
    assert list(done.trials["trial"]) == ["toy-0000", "toy-0001"]
    assert done.trials["accuracy"].dtype.kind == "f"
    board = done.leaderboard()
    assert board["accuracy"].is_monotonic_decreasing
    assert board["trial"][0] == done.best.name
    (label,) = done.pipeline()("a great and happy film")
    assert label["label"] in ("positive", "negative")


def test_a_run_is_opened_again_and_shows_itself(done) -> None:
    again = hpo.open_run(done.folder)
    assert again.best == done.best
    assert "toy-0001" in again._repr_html_()
    assert "succeeded" in repr(again)
    with pytest.raises(hpo.HpoError, match="is not a run folder; `hpo run` makes one"):
        hpo.open_run(done.folder / "trials")


def test_the_same_call_resumes_in_a_thread_with_a_running_loop(done) -> None:
    async def resume() -> hpo.Run:
        return hpo.run(done.experiment, folder=done.folder, quiet=True)

    found: list[hpo.Run] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(resume())))
    thread.start()
    thread.join()
    assert found[0].best == done.best


def test_without_a_terminal_it_prints_lines(done) -> None:
    script = f"import hpo_pipeline as hpo; r = hpo.open_run({str(done.folder)!r}); "
    script += "hpo.run(r.experiment, folder=r.folder)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "resumed: 2 trials finished earlier" in found.stdout


def test_an_unknown_engine_and_a_file_that_is_not_there_are_told(done, tmp_path) -> None:
    with pytest.raises(hpo.ExperimentError, match="engine: must be one of local, katib"):
        hpo.run(done.experiment, engine="ray")
    with pytest.raises(hpo.HpoError, match=r"no_such\.yaml"):
        hpo.run(tmp_path / "no_such.yaml")


def test_an_interrupted_run_keeps_what_is_done_and_is_resumed(
    tiny_bert, sentences, tmp_path
) -> None:
    training = {"num_train_epochs": 100_000, "per_device_train_batch_size": 8}
    task = experiment(tiny_bert, sentences).task.model_dump(mode="json") | {"training": training}
    endless = experiment(tiny_bert, sentences, task=task)
    threading.Timer(4.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(hpo.Interrupted):
        hpo.run(endless, folder=tmp_path / "run", quiet=True)
    assert hpo.open_run(tmp_path / "run").state == "interrupted"
