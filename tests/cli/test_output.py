"""Foreign texts on the terminal: registries, run folders and pods are written by others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.cli.output import printable
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from tests.registry.contract import make_candidate, make_model

HOSTILE = "[/x] [red]high[/red] :boom: \x1b[31m"


def test_markup_and_control_characters_of_a_registry_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(tmp_path / "model")
    candidate = make_candidate(model, "tweets", HOSTILE)
    registry = DirectoryRegistry(tmp_path / "models")
    registry.register(replace(candidate, experiment=HOSTILE, reason=HOSTILE), model)
    registry.promote("tweets", 1, expected=None, reason=HOSTILE)
    for action in ([], ["show", "tweets"], ["history", "tweets"]):
        assert main(["models", "--registry", str(tmp_path / "models"), *action]) == 0
        shown = capsys.readouterr().out
        assert r"[/x] [red]high[/red] :boom: \x1b[31m" in shown
        assert "\x1b" not in shown


def test_what_controls_a_terminal_is_escaped() -> None:
    assert printable("a\x07b\ud800\u202e\n±é★") == r"a\x07b\ud800\u202e" + "\n±é★"
