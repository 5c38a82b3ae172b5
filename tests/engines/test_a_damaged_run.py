"""Run folders that an accident or a stranger has changed: nothing finished is lost or believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hpo_pipeline.errors import RunFolderError
from hpo_pipeline.flow.launch import launch
from hpo_pipeline.results.run_folder import RunFolder
from tests.engines.test_a_new_engine import context
from tests.engines.test_local import Lines

BUDGET = {"trials": 6, "parallel": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def run(toy_engine, finished: Path, tmp_path: Path) -> Path:
    """A finished run with six trials, copied for each test."""
    if not (finished / "run").exists():
        launch("toy", context(finished, budget=BUDGET))
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path


def resume(place: Path, trials: int = 8) -> tuple[list[str], RunFolder]:
    """Resume a run with more trials; return the names of those that were trained for it."""
    again = context(place, budget={**BUDGET, "trials": trials})
    launch("toy", again)
    lines = again.progress
    assert isinstance(lines, Lines)
    return [n.split()[0] for n in lines.lines if n.endswith(" trained")], again.folder


def cut(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 3]) + b"{torn\n" + b"".join(lines[-3:]))


def forget(journal: Path) -> None:
    journal.unlink()


def confuse(journal: Path) -> None:
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:3], json.dumps({"op_code": 99}), *lines[3:]]) + "\n")


@pytest.mark.parametrize("damage", [cut, forget, confuse])
def test_a_damaged_journal_costs_no_finished_trial(run: Path, damage) -> None:
    damage(run / "run/journal.log")
    before = RunFolder(run / "run").finished_trials()
    trained, folder = resume(run)
    assert sorted(trained) == ["toy-0006", "toy-0007"]
    assert folder.finished_trials()[:6] == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "toy-0002"}', "\x00\x01"])
def test_a_damaged_result_is_trained_again(run: Path, text: str) -> None:
    (run / "run/trials/toy-0002/result.json").write_text(text)
    assert RunFolder(run / "run").damaged_trials() == ["toy-0002"]
    trained, folder = resume(run, trials=6)
    assert trained == ["toy-0002"]
    assert len(folder.finished_trials()) == 6


def test_a_result_that_names_a_path_removes_nothing_outside(run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "thesis/model"
    victim.mkdir(parents=True)
    file = run / "run/trials/toy-0002/result.json"
    stolen = {**json.loads(file.read_text()), "name": str(victim.parent)}
    file.write_text(json.dumps(stolen))
    trained, _ = resume(run, trials=6)
    assert victim.is_dir()
    assert trained == ["toy-0002"]


def test_files_and_folders_of_others_below_trials_are_ignored(run: Path) -> None:
    (run / "run/trials/.DS_Store").write_text("x")
    (run / "run/trials/notes of mine").mkdir()
    (run / "run/trials/elsewhere").symlink_to(run)
    trained, folder = resume(run, trials=6)
    assert trained == []
    assert len(folder.result().trials) == 6


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "damaged"),
        ("[1]", "does not hold a JSON object"),
        ('{"seconds": "long"}', "seconds"),
        ('{"winner": {"name": "../x"}}', "winner.name"),
        ('{"kept": ["../../home"]}', "kept.0"),
        ('{"gate": 3}', "gate"),
    ],
)
def test_a_damaged_state_is_named_with_what_to_do(run: Path, text: str, place: str) -> None:
    (run / "run/run.json").write_text(text)
    with pytest.raises(RunFolderError) as caught:
        RunFolder(run / "run").result()
    assert str(run / "run/run.json") in str(caught.value)
    assert place in str(caught.value)
    assert "restore it from a copy, or choose another run folder" in str(caught.value)


def test_a_state_of_an_earlier_version_is_read(run: Path) -> None:
    file = run / "run/run.json"
    state = json.loads(file.read_text())
    state["chosen"] = state.pop("selected")
    state["fingerprint"] = state.pop("data_fingerprint")
    gate = state.pop("gate")
    state["gate"] = {**gate.pop("evaluation"), **gate}
    file.write_text(json.dumps(state))
    found = RunFolder(run / "run").state()
    assert found.selected is not None
    assert found.gate is not None
    assert found.gate.evaluation.metrics == {"accuracy": 0.5}


def test_trials_of_other_data_are_not_mixed(run: Path) -> None:
    folder = RunFolder(run / "run")
    folder.use_data("f")
    with pytest.raises(RunFolderError, match="the data have changed since this run was started"):
        folder.use_data("other")
