"""JSON over HTTP with the standard library: one request, repeated while the server is busy or down.

It knows neither the paths of an API nor what a status means to the caller.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from hpo_pipeline.errors import RegistryError

TIMEOUT_SECONDS = 30.0
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
BUSY = (408, 429, 500, 502, 503, 504)
REFUSALS = (301, 302, 303, 307, 401, 403)  # those of a login page as well


@dataclass(frozen=True)
class Answer:
    """A status, and the JSON that came with it."""

    status: int
    body: dict[str, Any]


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token would go with the request."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


class Rest:
    """A server by its URL. Every request must be one that can safely be sent twice.

    Args:
        token: the bearer token, which is sent to this server alone: no redirect is followed.
        hint: what to do where the server refuses the token, or that there is none.
    """

    def __init__(
        self, url: str, *, token: str | None, hint: str = "", waits: Sequence[float] = WAITS
    ) -> None:
        self.url = url
        self._token = token
        self._hint = hint
        self._waits = waits

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        allow: Sequence[int] = (),
    ) -> Answer:
        """Send a request and return the answer.

        Args:
            allow: the statuses from 300 on that the caller understands.

        Raises:
            RegistryError: another such status, or no answer after several attempts.
        """
        target = path + (f"?{urlencode(query)}" if query else "")
        for wait in (*self._waits, None):
            answer, reason = self._send(method, target, body)
            if answer is not None and answer.status not in BUSY:
                return self._checked(answer, f"{method} {path}", reason, allow)
            if wait is not None:
                time.sleep(wait)
        raise RegistryError(
            f"{self.url}: the registry must answer, got: {reason}, after {len(self._waits) + 1} "
            f"attempts; check that the server runs and can be reached from here, then try again: "
            f"finished work is kept"
        )

    def _checked(self, answer: Answer, request: str, reason: str, allow: Sequence[int]) -> Answer:
        if answer.status < 300 or answer.status in allow:
            return answer
        hint = f"; {self._hint}" if self._hint and answer.status in REFUSALS else ""
        raise RegistryError(f"{self.url}: {request} must succeed, got: {reason}{hint}")

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[Answer | None, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
                found = json.loads(response.read() or b"{}")
                if not isinstance(found, dict):
                    raise ValueError(f"the answer must be a JSON object, got {found!r:.80}")
                return Answer(response.status, found), ""
        except urllib.error.HTTPError as error:
            with error:
                text = " ".join(error.read().decode(errors="replace").split())
            return Answer(error.code, {}), f"{error.code} {text[:200]}"
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            # No answer, or not one in JSON: another kind of server, or one that is starting.
            return None, str(getattr(error, "reason", error))
