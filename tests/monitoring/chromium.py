"""A headless Chromium, driven by ChromeDriver's own HTTP: Debian's chromium and chromium-driver."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1280,1000",
)
IS_THERE = all(shutil.which(name) for name in ("chromium", "chromedriver"))


class Browser:
    """One window."""

    def __init__(self, address: str):
        self._address = address

    def call(self, path: str, **content):
        """Send a command of WebDriver and return its value."""
        body = json.dumps(content).encode() if content or not path.startswith("GET ") else None
        url = f"{self._address}/{path.removeprefix('GET ')}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["value"]

    def open(self, url: str):
        self.call("url", url=url)

    def run(self, script: str, *arguments):
        """Return what a script returns."""
        return self.call("execute/sync", script=script, args=list(arguments))

    def run_async(self, script: str):
        """Return what a script gives to its last argument, a function."""
        return self.call("execute/async", script=script, args=[])

    def wait_for(self, script: str, seconds: float = 60):
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + seconds
        while not (found := self.run(f"return {script}")):
            assert time.monotonic() < end, f"it never came: {script}"
            time.sleep(0.1)
        return found

    def press(self, *keys: str):
        """Press keys, one after another."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def errors(self) -> list[str]:
        """Return what went to the console as an error since the last call."""
        found = self.call("se/log", type="browser")
        return [entry["message"] for entry in found if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path):
        path.write_bytes(base64.b64decode(self.call("GET screenshot")))


@contextmanager
def browser(profile: Path):
    """Start Chromium with an empty profile."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    root = Browser(f"http://127.0.0.1:{port}")
    try:
        _wait_until_up(root)
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = root.call("session", capabilities={"alwaysMatch": wanted})["sessionId"]
        window = Browser(f"http://127.0.0.1:{port}/session/{session}")
        try:
            yield window
        finally:
            request = urllib.request.Request(window._address, method="DELETE")
            urllib.request.urlopen(request, timeout=60).close()
    finally:
        driver.terminate()
        driver.wait()


def _wait_until_up(root: Browser):
    for _ in range(300):
        try:
            root.call("GET status")
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("ChromeDriver did not start")
