"""Notices of a run: what is posted, that the address stays secret, and that nothing waits."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hpo_pipeline.cli.watching import Watching
from hpo_pipeline.errors import BackendError, MonitoringError
from hpo_pipeline.monitoring.notices import Webhook, check_webhook, plain
from hpo_pipeline.reports.terminal.silence import Silence
from tests.toys import toy_experiment, toy_trial

SECRET = "T000/B000/SECRET"


class Said(Silence):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def hook():
    """A webhook on loopback: its address, and what was posted."""
    posted, status = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            posted.append(json.loads(self.rfile.read(length))["text"])
            self.send_response(status[0])
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", posted, status
        server.shutdown()
        thread.join()


def run(url, tmp_path, *, fails=False, progress=None):
    progress = progress or Said()
    with Watching(notify=url).watched(progress, toy_experiment(), tmp_path) as watched:
        watched.progress.started(10, 2)
        watched.progress.update([toy_trial(accuracy=0.75)], seconds=70)
        if fails:
            raise BackendError("<!channel> no disk")
        watched.ended("succeeded", None)
    return progress


def test_start_and_end(hook, tmp_path):
    url, posted, _ = hook
    run(url, tmp_path)
    assert posted == [
        "toy started: 10 trials; maximize accuracy",
        "toy succeeded; 1 succeeded; best 0.7500 (toy-0); 1 min 10 s",
    ]


def test_a_failure_with_its_reason(hook, tmp_path):
    url, posted, _ = hook
    with pytest.raises(BackendError):
        run(url, tmp_path, fails=True)
    assert posted[-1].startswith("toy failed: &lt;!channel&gt; no disk; 1 succeeded")


@pytest.mark.parametrize("status", [404, 302])
def test_a_webhook_that_refuses_is_said_once_without_its_address(hook, tmp_path, status):
    url, _, answer = hook
    answer[0] = status
    progress = run(url, tmp_path)
    assert progress.lines == [f"the notice could not be sent: the webhook answered {status}"]


def test_a_dead_webhook_delays_nothing(tmp_path):
    begun = time.monotonic()
    progress = run("http://127.0.0.1:1/" + SECRET, tmp_path)
    assert time.monotonic() - begun < 4
    assert len(progress.lines) == 1
    assert SECRET not in progress.lines[0]


def test_one_that_never_answers_is_waited_for_once_at_most():
    hook = Webhook("http://127.0.0.1:1/x", lambda line: None, patience=0.1)
    hook.run = lambda: time.sleep(2)  # never started: `join` is what counts
    hook.start()
    begun = time.monotonic()
    hook.close()
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    "url",
    ["http://example.com/SECRET", "ftp://x/SECRET", "SECRET", "https:///SECRET", "https://[SECRET"],
)
def test_an_address_that_may_not_be_used(url):
    with pytest.raises(MonitoringError, match="must be https") as caught:
        check_webhook(url)
    assert "SECRET" not in str(caught.value)


def test_long_texts_are_cut():
    assert len(plain("x" * 10_000)) == 500
