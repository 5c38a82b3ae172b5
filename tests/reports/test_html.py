"""The page of a search: what it says, what it withstands, and what it never loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.reports.html.findings import importances, steps_saved, what_mattered
from hpo_pipeline.reports.html.leaderboard import leaderboard
from hpo_pipeline.reports.html.page import write_report
from hpo_pipeline.results.outcome import SearchResult, Winner
from hpo_pipeline.results.trial import Trial, TrialState
from tests.toys import LR, TASK, toy_curve, toy_experiment, toy_trial

SPACE = {"learning_rate": LR, "weight_decay": {"type": "float", "low": 0.0, "high": 0.1}}
EXPERIMENT = toy_experiment(space=SPACE)
OBJECTIVE = EXPERIMENT.objective[0]


def trials(count: int) -> list[Trial]:
    """Return trials whose accuracy depends on the learning rate alone."""
    return [
        replace(
            toy_trial(
                i, accuracy=0.5 + 0.4 * i / count, curve=toy_curve(0.4, 0.5 + 0.4 * i / count)
            ),
            assignments={
                "learning_rate": 1e-5 * 10 ** (4 * i / count),
                "weight_decay": 0.1 * (i * 7 % count) / count,
            },
        )
        for i in range(count)
    ]


def page(folder: Path, *found: Trial, winner: Winner | None = None) -> str:
    result = SearchResult("toy", "succeeded", 61.0, found, winner=winner)
    return write_report(EXPERIMENT, result, folder / "report.html", run_info={}).read_text("utf-8")


def test_the_parameter_that_decides_has_the_largest_share() -> None:
    shares = importances(EXPERIMENT, trials(24), OBJECTIVE)
    assert isinstance(shares, dict)
    assert shares["learning_rate"] > 0.6 > shares["weight_decay"]
    words = what_mattered(EXPERIMENT, trials(24), OBJECTIVE, shares)
    assert "learning_rate mattered most" in words


def test_trials_that_are_all_alike_have_no_importances() -> None:
    alike = [replace(trial, metrics={"accuracy": 0.5}) for trial in trials(8)]
    found = importances(EXPERIMENT, alike, OBJECTIVE)
    assert isinstance(found, str)
    assert "nothing made a difference" in found


def test_what_was_left_out_of_the_data_has_a_section(tmp_path: Path) -> None:
    result = SearchResult("toy", "succeeded", 61.0, tuple(trials(2)))
    info = {"system": "Linux", "data notes": "2 rows <b>left out</b>.\n3 texts are cut."}
    text = write_report(EXPERIMENT, result, tmp_path / "report.html", run_info=info).read_text()
    assert "<ul><li>2 rows &lt;b&gt;left out&lt;/b&gt;.</li><li>3 texts are cut.</li></ul>" in text
    assert text.count("3 texts are cut.") == 1
    assert "<h2>Data</h2>" not in page(tmp_path, *trials(2))


@pytest.mark.parametrize("count", [0, 1])
def test_a_search_that_hardly_began_has_a_page(tmp_path: Path, count: int) -> None:
    assert "Importances need at least" in page(tmp_path, *trials(2)[:count])


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    head = page(tmp_path, *trials(3)).split("<body", 1)[0]
    assert "default-src 'none'" in head
    assert "src=" not in head.replace("-src", "")
    assert "<link" not in head


def test_a_long_leaderboard_lists_all_and_lays_out_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trials(5)
    assert 'class="rest"' not in leaderboard(EXPERIMENT, found, winner=None)
    monkeypatch.setattr("hpo_pipeline.reports.html.leaderboard.SHOWN", 2)
    best, rest = leaderboard(EXPERIMENT, found, winner=None).split("<tbody hidden>")
    assert (best.count("<tr"), rest.count("<tr")) == (3, 3)
    assert "Show all 5 trials" in rest


def test_what_a_trial_says_is_shown_and_not_run(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    failed = replace(toy_trial(5, state=TrialState.FAILED), reason=attack)
    found = page(tmp_path, *trials(3), failed)
    assert attack not in found
    assert "&lt;script&gt;alert(1)" in found


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    page(tmp_path, *trials(3))
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(FileExistsError):
        page(tmp_path / "report.html", *trials(3))
    assert (tmp_path / "report.html").read_bytes() == before


def test_the_steps_that_stopping_saved() -> None:
    experiment = toy_experiment(task={**TASK, "training": {"num_train_epochs": 10}})
    whole = toy_trial(0, accuracy=0.9, curve=toy_curve(*[0.9] * 10))
    stopped = toy_trial(1, state=TrialState.STOPPED, accuracy=0.1, curve=toy_curve(0.1, 0.1))
    whole, stopped = replace(whole, training_steps=100), replace(stopped, training_steps=20)
    assert steps_saved(experiment, [whole]) is None
    # 10 steps an epoch: 80 of the 100 steps of the second trial were not run, of 200 in all.
    assert steps_saved(experiment, [whole, stopped]) == (80, pytest.approx(0.4))
