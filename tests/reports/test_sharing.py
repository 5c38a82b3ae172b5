"""What is passed on names no folder of a machine, no user, no password and no signature."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipeline.reports.html.page import write_report
from hpo_pipeline.reports.model_card import Evidence, model_card
from hpo_pipeline.reports.sharing import hub_id, shareable
from hpo_pipeline.results.outcome import SearchResult
from tests.toys import TASK, toy_experiment, toy_trial

PRIVATE = ("/home/me", "hunter2", "sig=")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tweets", "tweets"),
        ("google/vit-base", "google/vit-base"),
        ("runs/tweets", "runs/tweets"),
        ("/home/me/data/train.csv, /home/me/data/test.csv", "train.csv, test.csv"),
        ("~/models/bert", "bert"),
        ("file:///home/me/models", "models"),
        ("https://me:hunter2@host:8080/data.csv?sig=abc#x", "https://host:8080/data.csv"),
        ("s3://bucket/data", "s3://bucket/data"),
        ("https://[half", "(hidden)"),
    ],
)
def test_a_name_that_is_passed_on(text: str, shown: str) -> None:
    assert shareable(text) == shown


def test_only_a_name_of_the_hub_is_a_base_model() -> None:
    names = ("google/vit-base", "/home/me/bert", "~/bert", "./bert", "s3://bucket/bert", None)
    assert [hub_id(name) for name in names] == ["google/vit-base", *[None] * 5]


def test_card_and_report_say_nothing_private(tmp_path: Path) -> None:
    experiment = toy_experiment(
        task={
            **TASK,
            "model": "/home/me/bert",
            "data": "https://host/data.csv?sig=abc",
            "training": {"logging_dir": "/home/me/logs"},
        },
        cluster={"env": {"DATABASE": "hunter2"}},
        register={"model": "toy", "registry": "file:///home/me/models"},
    )
    trial = toy_trial(0, accuracy=0.9, loss=0.3)
    evidence = Evidence(source="/home/me/data.csv", base_model="/home/me/bert")
    found = [model_card(experiment, trial, evidence)]
    result = SearchResult("toy", "succeeded", 61.0, (trial,))
    page = write_report(experiment, result, tmp_path / "report.html", run_info={})
    found.append(page.read_text("utf-8"))
    assert [text for text in PRIVATE for shown in found if text in shown] == []
    assert "The section cluster is left out." in found[1]
    assert "bert" in found[0]
