"""The door to Kubernetes, before a server on loopback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from hpo_pipeline.engines.kubernetes import api
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, KubernetesApi
from hpo_pipeline.errors import ClusterError


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Return the list of the statuses that the server answers with, one a request."""
    left: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status = left.pop(0)
            content = json.dumps({"message": f"said with {status}", "kind": "Experiment"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = tmp_path / "kubeconfig"
    url = f"http://127.0.0.1:{server.server_port}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }
    file.write_text(yaml.safe_dump(config), "utf-8")
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    monkeypatch.setattr(api, "PAUSES", (0.01, 0.01))
    yield left
    server.shutdown()
    server.server_close()


def test_a_server_that_changes_over_is_asked_again(answers):
    """As where Katib's controller, whose webhook looks at every experiment, starts anew."""
    answers += [500, 503, 201]
    assert KubernetesApi().create(EXPERIMENTS, "hpo", {})["kind"] == "Experiment"


def test_what_stays_broken_or_is_refused_is_said(answers):
    answers += [500, 500, 500]
    with pytest.raises(ClusterError, match="said with 500"):
        KubernetesApi().create(EXPERIMENTS, "hpo", {})
    answers += [403, 201]
    with pytest.raises(ClusterError, match="said with 403"):
        KubernetesApi().create(EXPERIMENTS, "hpo", {})
    assert answers == [201]
