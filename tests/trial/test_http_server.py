"""The server for trying a model: what it answers, and what it refuses."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Form
from hpo_pipeline.trial.answering.http_server import (
    MAX_BYTES,
    ModelServer,
    Settings,
    answers,
    instances,
)
from hpo_pipeline.trial.answering.predictor import Reading, open_predictor, task_of


class Shouting:
    """A predictor that answers with the text in capitals, and fails at one."""

    title = "onnx int8"
    form = Form("text", None)

    def of_pairs(self) -> Shouting:
        return self

    def predict(self, texts: list[Any]) -> list[Any]:
        if "boom" in texts:
            raise RuntimeError("no such token")
        return [{"label": str(text).upper()} for text in texts]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    predictor: Any = Shouting()
    found = ModelServer(predictor, Settings("127.0.0.1", 0, "tweets"), {"latency_p50_ms": 1.5})
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def ask(
    server: ModelServer, method: str, path: str, body: bytes = b"", **headers: str
) -> SimpleNamespace:
    """Send a request and return status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    found = SimpleNamespace(status=answer.status, text=answer.read().decode())
    connection.close()
    return found


PREDICT = "/v1/models/tweets:predict"


def test_texts_are_answered_and_counted(server: ModelServer) -> None:
    found = ask(server, "POST", PREDICT, b'{"instances": ["a", "b"]}')
    assert found.status == 200
    predictions = json.loads(found.text)["predictions"]
    assert [each["label"] for each in predictions] == ["A", "B"]
    ready = json.loads(ask(server, "GET", "/v1/models/tweets").text)
    assert ready == {"name": "tweets", "ready": True, "artefact": "onnx int8"}
    page = ask(server, "GET", "/metrics").text.splitlines()
    assert "hpo_requests_total 1" in page
    assert "hpo_request_faults_total 0" in page
    assert "hpo_measured_latency_p50_ms 1.5" in page


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (PREDICT, b"{", 400, "a request is JSON"),
        (PREDICT, b"[1]", 400, "instances: must be a list of 1 to 256"),
        (PREDICT, b'{"instances": []}', 400, "instances: must be a list of 1 to 256"),
        (PREDICT, b'{"instances": [3]}', 400, "each must be a text, a pair of texts"),
        (PREDICT, b'{"instances": ["a", ["b", "c"]]}', 400, "all texts, or all lists of texts"),
        (PREDICT, b'{"instances": [["a"]]}', 400, "a list must be a pair of texts"),
        (PREDICT, b'{"instances": ["a", " "]}', 400, "a text is empty"),
        (PREDICT, b'{"instances": ["boom"]}', 500, "the model failed: RuntimeError"),
        ("/v1/models/other:predict", b"{}", 404, "post to /v1/models/tweets:predict"),
    ],
)
def test_what_cannot_be_answered_is_said(
    server: ModelServer, path: str, body: bytes, status: int, words: str
) -> None:
    found = ask(server, "POST", path, body)
    assert (found.status, words in found.text) == (status, True), found.text
    assert ask(server, "POST", PREDICT, b'{"instances": ["a"]}').status == 200


def test_a_real_model_answers_as_hpo_predict_does(tiny_bert: Path) -> None:
    model = open_predictor(tiny_bert, task_of(tiny_bert, Reading()))
    assert answers(model, ["great food"]) == model.predict(["great food"])
    (pair,) = answers(model, [["great food", "a sad day"]])
    assert pair["scores"] != model.predict(["great food"])[0]["scores"]
    assert pair == model.of_pairs().predict([["great food", "a sad day"]])[0]


def test_too_large_a_request_is_not_read(server: ModelServer) -> None:
    headers = {"Content-Length": str(MAX_BYTES + 1)}
    assert ask(server, "POST", PREDICT, **headers).status == 413
    assert ask(server, "POST", PREDICT, **{"Content-Length": "-1"}).status == 411


def test_pages_of_other_sites_do_not_reach_it(server: ModelServer) -> None:
    found = ask(server, "POST", PREDICT, b'{"instances": ["a"]}', Host="evil.example:80")
    assert found.status == 403
    assert "is not this machine" in found.text


def test_an_address_that_is_taken_is_said(server: ModelServer) -> None:
    port = server.server_address[1]
    with pytest.raises(DataError, match=f"cannot listen at 127.0.0.1:{port}"):
        ModelServer(server.predictor, Settings("127.0.0.1", port, "x"), {})


def test_deep_nesting_is_no_request() -> None:
    with pytest.raises(DataError, match="a request is JSON"):
        instances(b"[" * 200_000)
