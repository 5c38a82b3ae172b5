"""The record that every driver keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import Candidate, Event, EventKind, champions, read_candidate
from tests.registry.contract import make_candidate, make_model


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    data = make_candidate(make_model(tmp_path), "tweets").to_json()
    del data["seeds"], data["run"]
    found = Candidate.from_json({**data, "of a later version": 1})
    assert (found.seeds, found.run) == ({}, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"f1": "high"}}, "metrics.f1: .*valid number, got 'high'"),
        ({"name": "../elsewhere"}, "name: .*got '../elsewhere'"),
        ({"model_sha256": "../../x"}, r"model_sha256: .*got '\.\./\.\./x'"),
        ({"assignments": ["lr"]}, "assignments: .*got"),
        ({"seeds": {"rows": 1.5}}, r"seeds\.rows: .*got 1\.5"),
    ],
)
def test_a_record_with_a_wrong_field_names_it(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    data = make_candidate(make_model(tmp_path), "tweets").to_json()
    with pytest.raises(RegistryError, match=message):
        Candidate.from_json({**data, **change})


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"name": "\\ud800"}', "[" * 100_000])
def test_a_text_that_is_not_a_record_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(RegistryError, match=r"tweets version 3: must hold a record .* a backup"):
        read_candidate(text, where="tweets version 3")


def test_a_rollback_without_a_champion_before_it_changes_nothing() -> None:
    back = Event(1, EventKind.ROLLED_BACK, "", "")
    assert champions([back, Event(2, EventKind.PROMOTED, "", "")]) == [2]
