"""A few seconds of `make fuzz`, so that it keeps working; the whole takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import Finding, attempt, fuzz
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize(("target", "count"), [("experiments", 110), ("formulas", 100)])
def test_a_few_inputs_are_read_or_refused(target: str, count: int) -> None:
    found, outcomes = fuzz(target, range(count), seed=1)
    assert found == []
    assert outcomes["accepted"] + outcomes["refused"] == count
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


def test_what_goes_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> int:
        raise ZeroDivisionError("by nothing")

    for run, said in ((crash, "ZeroDivisionError: by nothing"), (lambda: 1, "exit code 1: ")):
        monkeypatch.setitem(TARGETS, "toy", Target(1, lambda rng, folder, run=run: run))
        found = attempt("toy", 0, 0, tmp_path)
        assert isinstance(found, Finding)
        assert found.what == said


def test_an_input_follows_from_its_seed_and_number(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        attempt("experiments", 7, 1, tmp_path / name)
        contents.append((tmp_path / name / "experiment.yaml").read_bytes())
    assert contents[0] == contents[1]
