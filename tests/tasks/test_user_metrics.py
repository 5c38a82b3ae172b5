"""The user's own metrics come from the file that names them; nothing else of its folder runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks.user_metrics import located, metric_fault, shown, user_metric


def test_a_module_beside_the_file_is_loaded_under_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("def f(p, y): return 7.0\n")
    before = list(sys.path)
    target = located("random:f", tmp_path)
    assert user_metric(target)(None, None) == 7.0
    assert sys.path == before
    assert Path(importlib.import_module("random").__file__ or "").parent != tmp_path


def test_a_module_in_a_folder_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/shares.py").write_text("def f(p, y): return 3.0\n")
    assert user_metric(located("own.shares:f", tmp_path))(None, None) == 3.0


def test_a_module_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text("calls = []\ndef f(p, y):\n    calls.append(1)\n")
    target = located("once:f", tmp_path)
    assert user_metric(target) is user_metric(target)


def test_neighbours_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import neighbour\ndef f(p, y): return 1.0\n")
    (tmp_path / "neighbour.py").write_text("")
    with pytest.raises(TrialError, match="mine:f cannot be loaded: ModuleNotFoundError"):
        user_metric(located("mine:f", tmp_path))


def test_what_does_not_lie_beside_the_file_is_an_installed_module(tmp_path: Path) -> None:
    assert located("rich.table:Table", tmp_path) == "rich.table:Table"
    # A pod of the cluster has the module in its image, not the folder of the file.
    assert callable(user_metric("/not/here/rich.table:Table"))
    assert metric_fault("/not/here/rich.table:Table") is None


def test_the_experiment_file_names_the_folder(write_experiment, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def share(p, y): return 0.5\n")
    file = write_experiment(extra="metrics: {share: 'mine:share', other: 'rich.table:Table'}")
    experiment = load(file)
    assert experiment.task.metrics["share"] == f"{tmp_path.resolve()}/mine:share"
    assert experiment.task.metrics["other"] == "rich.table:Table"
    assert "mine:share" in experiment.task.metric_names["share"]
    assert str(tmp_path) not in experiment.task.metric_names["share"]
    again = tmp_path / "run" / "experiment.json"
    again.parent.mkdir()
    again.write_text(experiment.to_json(), "utf-8")
    assert load(again).task.metrics == experiment.task.metrics


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("def f(p, y): ...", None),
        ("from elsewhere import f", None),
        ("f = make()", None),
        ("f = 3", "mine.py has no function f"),
        ("if True:\n    f = 3", "mine.py has no function f"),
        ("def f(:", "mine.py cannot be read as Python"),
    ],
)
def test_a_function_is_looked_up_in_the_text(tmp_path: Path, text: str, fault: str | None) -> None:
    (tmp_path / "mine.py").write_text(text)
    found = metric_fault(located("mine:f", tmp_path))
    assert found is None if fault is None else (found or "").startswith(fault)


def test_a_target_is_shown_without_its_folder() -> None:
    assert shown("/home/somebody/mine:f") == "mine:f"
