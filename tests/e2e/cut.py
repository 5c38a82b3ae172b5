"""A wire to the API server that can be cut: every connection through it breaks, new ones work."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Wire:
    """Forwards a port of loopback to the server of a kubeconfig."""

    def __init__(self, kubeconfig: Path):
        self.config = yaml.safe_load(kubeconfig.read_text("utf-8"))
        self.cluster = self.config["clusters"][0]["cluster"]
        server = urlsplit(self.cluster["server"])
        self.target = (server.hostname, server.port or 443)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that goes through the wire."""
        port = self.listener.getsockname()[1]
        self.cluster["server"] = f"https://127.0.0.1:{port}"
        self.cluster["tls-server-name"] = self.target[0]
        path.write_text(yaml.safe_dump(self.config), "utf-8")
        return path

    def cut(self):
        """Break all connections."""
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        self.cut()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                self.pairs.append((near, far))
                threading.Thread(target=_forward, args=(near, far), daemon=True).start()


def _forward(near: socket.socket, far: socket.socket):
    with near, far, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
        for one, other in ((near, far), (far, near)):
            selector.register(one, selectors.EVENT_READ, other)
        while True:
            for key, _ in selector.select():
                content = key.fileobj.recv(1 << 16)
                if not content:
                    return
                key.data.sendall(content)
