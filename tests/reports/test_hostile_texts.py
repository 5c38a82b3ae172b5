"""Reasons come from logs: they are neither formulas nor markup where a run is passed on."""

from __future__ import annotations

import csv
from pathlib import Path

from hpo_pipeline.reports.markdown import markdown
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.run_folder import write_leaderboard
from hpo_pipeline.results.trial import Trial, TrialState
from tests.toys import toy_experiment


def failed(reason: str) -> Trial:
    """Return a failed trial whose log ended so."""
    return Trial("toy-0", 0, TrialState.FAILED, {"learning_rate": -0.5}, reason=reason)


def test_a_spreadsheet_finds_no_formula_in_the_leaderboard(tmp_path: Path):
    file = tmp_path / "leaderboard.csv"
    write_leaderboard(
        file, [failed('=HYPERLINK("a")'), failed("@now"), failed("bad\x1b[31m\nrows")]
    )
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    assert [row["reason"] for row in rows] == ['\'=HYPERLINK("a")', "'@now", "bad [31m rows"]
    assert rows[0]["learning_rate"] == "-0.5"


def test_a_reason_is_no_link_and_no_image_in_markdown():
    trials = (failed("![x](https://example.org/a.png) <b> | \x1b[2J"),)
    shown = markdown(toy_experiment(), SearchResult("toy", "failed", 1.0, trials))
    assert r"\!\[x\](https://example.org/a.png) &lt;b> \| \[2J" in shown
