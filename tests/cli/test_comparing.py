"""`hpo compare`: the terminal, JSON, the page, and what is said of runs that cannot be read."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from hpo_pipeline.cli.main import main
from tests.monitoring.test_run_cache import make_run


@pytest.fixture
def runs(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", trials=5)
    return tmp_path


def test_tables_on_the_terminal(runs, capsys):
    assert main(["compare", str(runs / "a"), str(runs / "b")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^succeeded trials +3 +5 *$", out, re.MULTILINE)
    assert re.search(r"^accuracy +0\.7000 +0\.9000 ★ *$", out, re.MULTILINE)


def test_json_for_machines(runs, capsys):
    assert main(["compare", str(runs / "a"), str(runs / "b"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == ["a", "b"]
    metrics = found["tables"]["Objectives and metrics of the winner"]
    assert metrics["accuracy"] == [pytest.approx(0.7), pytest.approx(0.9)]
    assert found["histories"]["a"] == [[0, 0.5], [1, 0.6], [2, 0.7]]


def test_the_page_is_one_file_and_loads_nothing(runs):
    hostile = make_run(runs / "<img src=x onerror=alert(1)>")
    hostile.update(reason="</script><script>alert(1)</script>")
    out = runs / "page.html"
    assert main(["compare", str(runs / "a"), str(hostile.path), "--html", str(out)]) == 0
    page = out.read_text("utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<img|<link|import .* from|unsafe-inline", page)
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    assert [path.name for path in runs.glob(".page*")] == []


def test_every_fault_is_said_at_once(runs, capsys):
    (runs / "b" / "run.json").write_text("{")
    shutil.rmtree(runs / "a" / "trials")
    (runs / "a" / "experiment.json").unlink()
    assert main(["compare", str(runs / "a"), str(runs / "b"), str(runs / "none")]) == 2
    err = capsys.readouterr().err
    assert err.count("is not a run folder") == 2
    assert "run.json: is damaged" in err


def test_a_half_written_run_is_compared_as_far_as_it_goes(runs, capsys):
    shutil.rmtree(runs / "b" / "trials")
    (runs / "b" / "run.json").unlink()
    assert main(["compare", str(runs / "a"), str(runs / "b")]) == 0
    assert "b has no best trial: no trial has ended yet." in capsys.readouterr().out


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "./a"]])
def test_one_run_is_not_enough(runs, names, capsys):
    assert main(["compare", *(str(runs / name) for name in names)]) == 2
    assert "name 2 to 6 different runs, got 1" in capsys.readouterr().err


def test_a_page_that_cannot_be_written(runs, capsys):
    folders = [str(runs / "a"), str(runs / "b")]
    assert main(["compare", *folders, "--html", str(runs / "none" / "page.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
