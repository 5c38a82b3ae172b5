"""The journal of one writer: what is handed back from memory is what the file holds."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import TrialState

from hpo_pipeline.search.journal import open_journal, read_journal
from hpo_pipeline.search.study import Study
from tests.toys import toy_curve, toy_experiment, toy_trial

MADE = toy_experiment(
    search={"algorithm": "random", "seed": 1, "start": [{"learning_rate": 0.01}] * 2},
    stopping={"algorithm": "median"},
)


def test_a_reader_of_the_file_sees_what_the_writer_knows(tmp_path: Path) -> None:
    study = Study(MADE.problem, open_journal(tmp_path / "journal"))
    for number in range(4):
        study.ask()
        study.should_stop(number, toy_curve(0.5))
        study.tell(toy_trial(number, accuracy=0.5 + number / 10, curve=toy_curve(0.5)))
    written = study._study.get_trials()
    read = optuna.load_study(study_name="toy", storage=read_journal(tmp_path / "journal"))
    assert read.get_trials() == written
    resumed = Study(MADE.problem, open_journal(tmp_path / "journal"))
    assert resumed._study.get_trials() == written
    assert resumed.count() == 4


def test_trials_that_wait_are_found_once_others_have_begun(tmp_path: Path) -> None:
    storage = open_journal(tmp_path / "journal")
    study = optuna.create_study(storage=storage, study_name="toy")
    for x in (0.1, 0.2, 0.3):
        study.enqueue_trial({"x": x})
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    assert [study.ask(space).params["x"] for _ in range(2)] == [0.1, 0.2]
    study.enqueue_trial({"x": 0.4})
    assert [study.ask(space).params["x"] for _ in range(2)] == [0.3, 0.4]
    assert study.get_trials(states=(TrialState.WAITING,)) == []
    assert study.ask(space).number == 4


def test_all_trials_are_known_in_whatever_order_they_end(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_journal(tmp_path / "journal"), study_name="toy")
    begun = [study.ask() for _ in range(4)]
    for number in (1, 0, 3, 2):
        study.tell(begun[number], float(number))
        quick = study.get_trials(deepcopy=False)
        assert quick == study.get_trials()
        quick.clear()  # it is the caller's
    study.ask()
    assert [t.value for t in study.get_trials(deepcopy=False)] == [0.0, 1.0, 2.0, 3.0, None]
