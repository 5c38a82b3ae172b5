"""The live page: what it answers, to whom, and that nothing hostile is more than text."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from hpo_pipeline.cli.main import main
from hpo_pipeline.monitoring.live_data import ROWS
from hpo_pipeline.monitoring.live_server import FILES, STATIC, LivePage, application
from hpo_pipeline.monitoring.run_cache import RunCache
from hpo_pipeline.monitoring.stopping import stop_run
from hpo_pipeline.registry import open_registry
from hpo_pipeline.reports.best_so_far import CHART_POINTS
from hpo_pipeline.results.requests import Request, answer, ask, take
from hpo_pipeline.results.trial import TrialState
from tests.monitoring.test_run_cache import make_run
from tests.toys import toy_curve, toy_trial

HOSTS = frozenset({"127.0.0.1", "localhost"})
TOKEN = "0123456789abcdef-secret"
ACTION = {"X-HPO": "1", "Origin": "http://127.0.0.1:8765"}


@pytest.fixture
def open_page(tmp_path):
    """Return a function that opens the page on the runs below the test's folder."""

    def opened(token=None, base="http://127.0.0.1:8765"):
        page = LivePage(
            RunCache(tmp_path), HOSTS, token, lambda: open_registry(str(tmp_path / "m"))
        )
        return TestClient(application(page), base_url=base, follow_redirects=False)

    return opened


def test_the_runs(open_page, tmp_path):
    make_run(tmp_path / "toy")
    (run,) = open_page().get("/api/runs").json()["runs"]
    assert (run["name"], run["state"], run["best"]) == ("toy", "succeeded", "0.7000")
    assert run["counts"] == {"succeeded": 3}


def test_a_run_has_its_best_trials_first(open_page, tmp_path):
    folder = make_run(tmp_path / "toy")
    folder.record(toy_trial(3, state=TrialState.FAILED))
    folder.record(toy_trial(4, accuracy=0.9, curve=toy_curve(0.5, 0.9)))
    found = open_page().get("/api/runs/toy").json()
    assert [t["name"] for t in found["trials"]] == ["toy-4", "toy-2", "toy-1", "toy-0", "toy-3"]
    assert [t["place"] for t in found["trials"]] == [1, 2, 3, 4, None]
    assert found["history"] == [[0, 0.5], [1, 0.6], [2, 0.7], [4, 0.9]]
    assert found["curves"] == [{"name": "toy-4", "points": [[1, 0.5], [2, 0.9]]}]


def test_what_is_sent_is_bounded(open_page, tmp_path):
    make_run(tmp_path / "toy", trials=ROWS + 150)
    found = open_page().get("/api/runs/toy").json()
    assert (len(found["trials"]), found["hidden"]) == (ROWS, 150)
    assert len(found["history"]) <= CHART_POINTS + 1


def test_an_answer_that_has_not_changed_is_empty(open_page, tmp_path):
    folder, page = make_run(tmp_path / "toy"), open_page()
    tag = page.get("/api/runs/toy").headers["etag"]
    same = page.get("/api/runs/toy", headers={"If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
    folder.record(toy_trial(3, accuracy=0.9))
    assert page.get("/api/runs/toy", headers={"If-None-Match": tag}).status_code == 200


def test_a_trial_has_the_end_of_its_log(open_page, tmp_path):
    folder = make_run(tmp_path / "toy")
    (folder.trial("toy-1") / "log.txt").write_text("x" * 50_000 + "\nlast line\n")
    found = open_page().get("/api/runs/toy/trials/toy-1").json()
    assert found["log"] == "last line\n"
    assert found["values"] == {"learning_rate": "0.001"}


def test_curves_of_a_script_without_epochs_are_by_step(open_page, tmp_path):
    folder, curve = make_run(tmp_path / "toy", trials=0), toy_curve(0.5, 0.9)
    folder.record(toy_trial(0, curve=tuple(replace(point, epoch=0.0) for point in curve)))
    found = open_page().get("/api/runs/toy/trials/toy-0").json()
    assert (found["along"], found["curves"][0]["points"]) == ("step", [[1, 0.5], [2, 0.9]])


def test_runs_side_by_side(open_page, tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", trials=1)
    found = open_page().get("/api/compare?run=a&run=b&run=gone").json()
    assert found["runs"] == ["a", "b"]
    assert "gone is not there any more, or cannot be read." in found["notes"]
    (metrics,) = [t for t in found["tables"] if t["title"].startswith("Objectives")]
    cells = {"name": "accuracy", "cells": ["0.7000", "0.5000"], "differs": True, "best": 0}
    assert metrics["rows"] == [cells]
    assert open_page().get("/api/compare?run=a").status_code == 400
    assert open_page().get("/api/compare?run=a&run=none").status_code == 404


def test_what_vanishes_is_said(open_page, tmp_path):
    make_run(tmp_path / "toy")
    page = open_page()
    assert page.get("/api/runs/toy").status_code == 200
    shutil.rmtree(tmp_path / "toy")
    for address in ("/api/runs/toy", "/api/runs/..%2F..%2Fetc", "/api/runs/toy/trials/toy-0"):
        assert page.get(address).status_code == 404
    assert page.get("/static/..%2Findex.html").status_code == 404


def test_every_answer_forbids_what_is_not_ours(open_page):
    page = open_page()
    for address in ("/", "/static/app.js", "/api/runs", "/none"):
        policy = page.get(address).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_no_script_reads_text_as_html():
    assert {path.name for path in STATIC.iterdir()} == {*FILES, "index.html"}
    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        assert not any(
            word in text for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(")
        )


def test_another_host_is_refused_on_loopback(open_page):
    page = open_page(base="http://evil.example:8765")
    assert page.get("/api/runs").status_code == 421
    assert page.get("/").status_code == 421


def test_the_token_is_needed_where_there_is_one(open_page):
    page = open_page(TOKEN, base="http://10.0.0.5:8765")
    assert page.get("/api/runs").status_code == 401
    assert page.get("/?token=wrong").status_code == 401
    assert page.get(f"/api/runs?token={TOKEN}").status_code == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert page.get("/api/runs", headers=bearer).status_code == 200
    first = page.get(f"/?token={TOKEN}")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=strict" in first.headers["set-cookie"]
    assert page.get("/api/runs").status_code == 200


def test_actions_come_from_the_page_only(open_page, tmp_path):
    make_run(tmp_path / "toy")
    page = open_page()
    assert page.post("/api/runs/toy/stop").status_code == 403
    other = {**ACTION, "Origin": "http://evil.example"}
    assert page.post("/api/runs/toy/stop", headers=other).status_code == 403
    assert page.get("/api/runs/toy/stop", headers=ACTION).status_code == 405
    answer = page.post("/api/runs/toy/stop", headers=ACTION)
    assert answer.json() == {"said": "nothing runs there"}


def test_a_trial_is_stopped_through_its_run(open_page, tmp_path):
    folder, page = make_run(tmp_path / "toy", state="running"), open_page()
    (folder.trial("toy-3")).mkdir()
    stop = {"kind": "stop", "trial": "toy-3"}
    assert "only runs whose trials run on this machine" in asked(page, stop, 400)
    folder.journal.touch()
    assert "does not run" in asked(page, stop, 400)
    with folder.locked():
        assert page.post("/api/runs/toy/requests", json=stop).status_code == 403
        assert "does not run" in asked(
            page, {"kind": "stop", "trial": "toy-0"}, 400
        )  # it has ended
        assert asked(page, stop, 200) == "asked; the run has not answered yet"
    assert [request.trial for request in take(folder.requests)] == ["toy-3"]
    assert take(folder.requests) == []


def asked(page, content, status):
    """Ask the run `toy` for something; return what was said."""
    found = page.post("/api/runs/toy/requests", json=content, headers=ACTION)
    assert found.status_code == status
    return found.json()["said" if status == 200 else "error"]


def test_the_answer_of_a_run_is_said(open_page, tmp_path):
    folder = make_run(tmp_path / "toy", state="running")
    folder.journal.touch()

    def run():
        while not (found := take(folder.requests)):
            time.sleep(0.05)
        answer(folder.requests, found[0], "5 trials added, 15 in all")

    with folder.locked(), ThreadPoolExecutor(1) as thread:
        thread.submit(run)
        assert asked(open_page(), {"kind": "more", "count": 5}, 200) == "5 trials added, 15 in all"
    shown = open_page().get("/api/runs/toy").json()["requests"]
    assert shown == [{"asked": "add 5 trials", "said": "5 trials added, 15 in all"}]


def test_a_run_that_has_ended_says_how_to_resume_it(open_page, tmp_path):
    folder = make_run(tmp_path / "toy")
    folder.journal.touch()
    said = asked(open_page(), {"kind": "next", "values": {"learning_rate": " 1e-3 "}}, 200)
    command = f"hpo run {folder.experiment_file} --run {folder.path}"
    assert said == f"noted; this starts it: {command}"
    (request,) = take(folder.requests)
    assert (request.kind, request.values) == ("next", {"learning_rate": "0.001"})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"kind": "next", "values": {"learning_rate": "nan"}}, "must be a number from 1e-05"),
        ({"kind": "next", "values": {"learning_rate": ""}}, "learning_rate is missing"),
        ({"kind": "more", "count": 0}, "1 to 10000 trials can be added"),
        ({"kind": "more", "count": 10**9}, "1 to 10000 trials can be added"),
        ({"kind": "again", "trial": "../../etc/passwd"}, "has not ended"),
        ({"kind": "shell", "trial": "rm"}, "this is not a request"),
        ([1], "this is not a request"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(open_page, tmp_path, content, why):
    folder = make_run(tmp_path / "toy")
    folder.journal.touch()
    assert why in asked(open_page(), content, 400)
    assert take(folder.requests) == []


def test_a_flood_of_requests_is_bounded(open_page, tmp_path):
    folder = make_run(tmp_path / "toy")
    folder.journal.touch()
    asked(open_page(), {"kind": "next", "values": {"x": "y" * 200_000}}, 413)
    for _ in range(100):
        ask(folder.requests, Request("more", count=1))
    assert "100 requests wait already" in asked(open_page(), {"kind": "more", "count": 1}, 400)


def test_the_form_has_the_space_and_the_best_values(open_page, tmp_path):
    make_run(tmp_path / "toy")
    found = open_page().get("/api/runs/toy/form").json()
    (parameter,) = found["parameters"]
    assert found["like"] == "toy-2"
    assert (parameter["value"], parameter["allowed"]) == ("0.001", "a number from 1e-05 to 0.1")
    assert open_page().get("/api/runs/toy/form?trial=toy-0").json()["like"] == "toy-0"


def test_a_request_names_a_trial_and_no_path(tmp_path):
    with pytest.raises(ValueError, match="no name of a trial"):
        ask(tmp_path / "requests", Request("stop", "../../etc/passwd"))


HOLD = """
import sys, time, pathlib
from hpo_pipeline.results.run_folder import RunFolder
with RunFolder(pathlib.Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("name", "stops"), [("hpo", True), ("other", False)])
def test_only_our_own_process_is_stopped(tmp_path, name, stops):
    folder = make_run(tmp_path / "toy")
    script = tmp_path / name
    script.write_text(HOLD)
    with subprocess.Popen(
        [sys.executable, script, folder.path], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            assert ("asked to stop" in stop_run(folder)) == stops
            if stops:
                assert process.wait(20) == -15
        finally:
            process.kill()


def test_the_models(open_page):
    assert open_page().get("/api/models").json() == {"models": []}


def test_a_hostile_name_is_data(open_page, tmp_path):
    folder = make_run(tmp_path / "toy")
    folder.update(reason="<script>alert(1)</script>")
    answer = open_page().get("/api/runs/toy")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["reason"] == "<script>alert(1)</script>"


def test_a_port_in_use(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["ui", str(tmp_path), "--port", port]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_a_token_must_be_long(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HPO_UI_TOKEN", "short")
    assert main(["ui", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]) == 2
    err = capsys.readouterr().err
    assert "at least 16" in err
    assert "short" not in err
