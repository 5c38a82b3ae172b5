"""The live page in a real browser: it updates, works by keyboard, and runs nothing hostile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.results.requests import Answered, take
from tests.monitoring.chromium import IS_THERE, browser
from tests.monitoring.test_run_cache import make_run
from tests.toys import toy_curve, toy_trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_THERE, reason="needs chromium and chromium-driver of Debian"),
]
HOSTILE = "<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>"
ENTER, TAB = "\ue007", "\ue004"


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(tmp_path, window):
    """The folder of runs, and the address of its page."""
    window.open("about:blank")
    window.errors()  # those of the last page, whose server has gone
    command = [sys.executable, "-m", "hpo_pipeline", "ui", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield tmp_path, process.stdout.readline().removeprefix("open ").strip()
        process.terminate()


def test_runs_update_by_themselves(window, page):
    runs, address = page
    folder = make_run(runs / "toy")
    window.open(address)
    window.wait_for("document.querySelector('tbody th a')?.textContent === 'toy'")
    folder.record(toy_trial(3, accuracy=0.95, curve=toy_curve(0.5, 0.95)))
    window.wait_for("document.querySelector('tbody').textContent.includes('0.9500')")
    assert window.errors() == []


def test_by_keyboard_to_a_trial(window, page):
    runs, address = page
    folder = make_run(runs / "toy")
    (folder.trial("toy-2") / "log.txt").write_text("the last line\n")
    window.open(address)
    window.wait_for("document.querySelector('tbody th a')")
    window.run("document.querySelector('tbody th a').focus()")
    window.press(ENTER)
    window.wait_for("document.querySelector('h1')?.textContent === 'toy'")
    assert window.run("return document.activeElement.id") == "main"
    window.run("document.querySelector('tbody th a').focus()")
    window.press(ENTER)
    window.wait_for("document.querySelector('pre')?.textContent.includes('the last line')")
    assert window.errors() == []


def test_what_has_the_focus_keeps_it(window, page):
    runs, address = page
    folder = make_run(runs / "toy")
    window.open(address + "#/run/toy")
    window.wait_for("document.querySelector('tbody th a')")
    window.run("[...document.querySelectorAll('tbody th a')].at(-1).focus()")
    folder.update(reason="something new")
    window.wait_for("document.body.textContent.includes('something new')")
    assert window.run("return document.activeElement.textContent") == "toy-0"


def test_hostile_texts_stay_texts(window, page):
    runs, address = page
    folder = make_run(runs / "toy")
    folder.update(reason=HOSTILE, state="failed")
    window.open(address + "#/run/toy")
    window.wait_for("document.body.textContent.includes('onerror')")
    assert window.run("return document.title") == "toy: failed"
    assert window.run("return document.querySelectorAll('main img, main script').length") == 0
    assert window.errors() == []


def test_a_configuration_by_keyboard(window, page):
    runs, address = page
    folder = make_run(runs / "toy")
    folder.journal.touch()
    hostile = Answered("1", HOSTILE, HOSTILE)
    folder.requests.mkdir()
    (folder.requests / "answers.jsonl").write_text(json.dumps(asdict(hostile)) + "\n")
    window.open(address + "#/run/toy")
    window.wait_for("document.body.textContent.includes('onerror')")
    assert window.run("return document.querySelectorAll('main img, main script').length") == 0
    window.open(address + "#/add/toy/toy-0")
    window.wait_for("document.querySelector('form')")
    window.run(
        "const one = document.getElementById('value-learning_rate'); one.focus(); one.select()"
    )
    window.press(*"7", ENTER)
    window.wait_for("document.querySelector('.refused')")
    assert "0.1, got 7" in window.run("return document.querySelector('.refused').textContent")
    assert "0.1, got 7" in window.run("return document.getElementById('status').textContent")
    window.press(*".0e-3")
    time.sleep(3)  # longer than an update takes, which must not take away what was typed
    window.press(TAB)
    assert window.run("return document.activeElement.textContent") == "Try it"
    window.press(ENTER)
    window.wait_for(
        "document.querySelector('.said').textContent.startsWith('noted; this starts it')"
    )
    assert [dict(request.values) for request in take(folder.requests)] == [
        {"learning_rate": "0.007"}
    ]


def test_the_file_of_a_comparison(window, tmp_path):
    folder = make_run(tmp_path / "toy")
    folder.update(reason=HOSTILE)
    make_run(tmp_path / "other", trials=2)
    out = tmp_path / "page.html"
    assert main(["compare", str(folder.path), str(tmp_path / "other"), "--html", str(out)]) == 0
    window.open("about:blank")
    window.errors()  # those of the last page, whose server has gone
    window.open(out.as_uri())
    window.wait_for("document.querySelector('figure svg path')")
    assert window.run("return document.querySelector('td.best').textContent") == "0.7000 ★"
    assert window.run("return document.body.textContent.includes('onerror')")
    assert window.run("return document.title") == "Comparison: toy, other"
    assert window.errors() == []


def test_runs_are_compared_on_the_page(window, page):
    runs, address = page
    make_run(runs / "a")
    make_run(runs / "b", trials=2)
    window.open(address + "#/compare/a/b")
    window.wait_for("document.querySelector('td.best')?.textContent === '0.7000 ★'")
    assert window.run("return document.querySelector('thead a').textContent") == "a"
    assert window.errors() == []


def test_a_run_that_vanishes_is_said(window, page):
    runs, address = page
    make_run(runs / "toy")
    window.open(address + "#/run/toy")
    window.wait_for("document.querySelector('h1')")
    shutil.rmtree(runs / "toy")
    window.wait_for("document.getElementById('status').textContent.includes('not there any more')")
    assert window.run("return document.querySelector('h1').textContent") == "toy"
