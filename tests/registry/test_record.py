"""The record that every driver keeps."""

from __future__ import annotations

from pathlib import Path

from hpo_pipeline.registry.record import Candidate
from tests.registry.contract import make_candidate, make_model


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    data = make_candidate(make_model(tmp_path), "tweets").to_json()
    del data["seeds"], data["run"]
    found = Candidate.from_json({**data, "of a later version": 1})
    assert (found.seeds, found.run) == ({}, None)
