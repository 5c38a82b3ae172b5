"""Of ended trials the best keep their models; twins of a trial are found whatever their number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpo_pipeline.engines.loop.duplicates import Duplicates
from hpo_pipeline.engines.loop.retention import Retention
from hpo_pipeline.results.files import MODEL_FOLDER, RESUME_FOLDER
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.search.study import Suggestion
from tests.toys import toy_experiment, toy_trial


def test_the_best_models_stay(tmp_path: Path) -> None:
    retention = Retention(toy_experiment(budget={"trials": 9, "keep": 2}), tmp_path)
    ended = {}
    for number, accuracy in enumerate((0.5, 0.9, 0.7, 0.8, 0.1)):
        trial = toy_trial(number, accuracy=accuracy)
        for name in (MODEL_FOLDER, RESUME_FOLDER):
            (tmp_path / trial.name / name).mkdir(parents=True)
        ended[number] = trial
        retention.ended(trial, ended)
    assert sorted(p.parent.name for p in tmp_path.glob(f"*/{MODEL_FOLDER}")) == ["toy-1", "toy-3"]
    assert not list(tmp_path.glob(f"*/{RESUME_FOLDER}"))


def test_a_twin_takes_the_first_result_and_never_that_of_a_failure() -> None:
    duplicates = Duplicates(toy_experiment())
    suggestion = Suggestion(7, {"learning_rate": 1e-3})
    duplicates.add(toy_trial(0, state=TrialState.FAILED))
    assert duplicates.find(suggestion, []) is None
    duplicates.add(toy_trial(1, accuracy=0.5))
    duplicates.add(toy_trial(2, accuracy=0.6))
    found = duplicates.find(suggestion, [])
    assert found is not None
    assert found is not True
    assert found.number == 1


def test_the_model_of_the_baseline_stays_for_the_test_rows(tmp_path: Path) -> None:
    experiment = toy_experiment(baseline={"learning_rate": 2e-3})
    retention, ended = Retention(experiment, tmp_path), {}
    for number, rate in enumerate((2e-3, 1e-3, 1e-2)):
        trial = replace(
            toy_trial(number, accuracy=0.1 * number), assignments={"learning_rate": rate}
        )
        (tmp_path / trial.name / MODEL_FOLDER).mkdir(parents=True)
        ended[number] = trial
        retention.ended(trial, ended)
    assert sorted(p.parent.name for p in tmp_path.glob(f"*/{MODEL_FOLDER}")) == ["toy-0", "toy-2"]
