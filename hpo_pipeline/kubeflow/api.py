"""The door to the REST API of Kubeflow Pipelines (v2beta1).

It sends one request, says in plain words why one failed, and decides nothing. kfp.Client is not
used: the pipeline image has kfp without its dependencies, and that client retries an unreachable
endpoint for half a minute. Endpoint, token and cookie are found where kfp.Client finds them.
Credentials come from files and are never printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from hpo_pipeline.errors import PipelineError, ScheduleError

Json = dict[str, Any]
API = "/apis/v2beta1"
ENDPOINTS = ("KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT")  # the second is kfp.Client's
TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"
# As in kfp.Client: the projected token of a pod, and what `kfp` saves for a person.
PROJECTED = Path("/var/run/secrets/kubeflow/pipelines/token")
CONTEXT = Path(".config/kfp/context.json")  # below the home directory
_DENIED = re.compile(
    r"User '(?P<who>[^']*)' is not authorized.*Namespace:(?P<where>[^,]*),Verb:(?P<verb>[^,]*),"
    r".*Resource:(?P<what>[^,]*),"
)
_RETRIES = urllib3.Retry(
    total=3,
    connect=2,
    backoff_factor=0.3,
    status_forcelist=(502, 503, 504),
    allowed_methods=("GET",),
    raise_on_status=False,
    redirect=False,
)


class Kfp:
    """An installation of Kubeflow Pipelines, and the namespace used there."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        namespace: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        context = _context(environ)
        self.endpoint = _checked(endpoint or _first(environ, ENDPOINTS))
        self.namespace = namespace or environ.get("KFP_NAMESPACE") or context.get("namespace") or ""
        self._environ, self._context = environ, context
        _, self._credentials = _credentials(environ, context)
        self.now = datetime.now(UTC)  # by the server's clock, as of the last reply
        self._http = urllib3.PoolManager(
            retries=_RETRIES, timeout=urllib3.Timeout(connect=5, read=60)
        )

    def get(self, path: str, **query: str) -> Json:
        """Return the object at a path."""
        return self._send("GET", path, query)

    def post(self, path: str, body: Json | None = None, **query: str) -> Json:
        """Create what `body` describes, or perform the action that the path names."""
        return self._send("POST", path, query, body=json.dumps(body) if body else None)

    def delete(self, path: str, **query: str) -> None:
        """Delete the object at a path."""
        self._send("DELETE", path, query)

    def upload(self, path: str, file: Path, **query: str) -> Json:
        """Send a file in the form that KFP expects for pipelines."""
        form = {"uploadfile": (file.name, file.read_bytes(), "application/yaml")}
        return self._send("POST", path, query, fields=form)

    def pages(self, path: str, key: str, **query: str) -> Iterator[Json]:
        """Yield the entries of a list, page after page."""
        token = ""
        while True:
            page = self.get(path, **query, page_size="100", page_token=token)
            yield from page.get(key) or []
            token = page.get("next_page_token") or ""
            if not token:
                return

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Json:
        given = {key: value for key, value in query.items() if value}
        url = f"{self.endpoint}{API}{path}"
        # Read anew: the token of a pod is another one after an hour or so.
        known, self._credentials = _credentials(self._environ, self._context)
        headers = {**known, "Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        if given:
            url += "?" + urlencode(given)
        try:
            reply = self._http.request(
                method, url, body=body, fields=fields, headers=headers, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise PipelineError(
                f"{self.endpoint}: cannot be reached: {_reason(error)}; check the endpoint, and "
                "the kubectl port-forward if it uses one"
            ) from error
        return self._read(reply, f"{method} {path}")

    def _read(self, reply: urllib3.BaseHTTPResponse, what: str) -> Json:
        with contextlib.suppress(TypeError, ValueError):
            self.now = parsedate_to_datetime(reply.headers.get("Date", ""))
        text = reply.data.decode("utf-8", "replace")
        try:
            content = json.loads(text) if text.strip() else {}
        except ValueError:
            content = None
        if 200 <= reply.status < 300 and isinstance(content, dict):
            return content
        said = _said(content)
        used = f"with {self._credentials}" if self._credentials else "and no token was given"
        if reply.status == 401 or 300 <= reply.status < 400:
            refused = f"refuses {self._credentials}" if self._credentials else "requires a login"
            message = (
                f"{self.endpoint}: {refused} ({reply.status}); a token is read from the file that "
                f"{TOKEN_PATH} names"
            )
        elif reply.status == 403:
            message = f"{self.endpoint}: not allowed (403), {used}: {what}{_may_not(content)}"
        elif reply.status < 300 or content is None:
            message = (
                f"{self.endpoint}: is not the API of Kubeflow Pipelines: {what} returned "
                f"{reply.status} without JSON; in a Kubeflow its address ends in /pipeline"
            )
        else:
            hint = "; give --namespace" if "empty namespace" in said else ""
            message = f"{self.endpoint}: {what} failed ({reply.status}){said}{hint}"
        raise PipelineError(message, status=reply.status)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _checked(endpoint: str) -> str:
    if not endpoint:
        raise ScheduleError(
            "no endpoint of Kubeflow Pipelines: give --endpoint or set KFP_ENDPOINT, such as "
            "http://localhost:8888 after "
            "`kubectl -n kubeflow port-forward service/ml-pipeline 8888:8888`"
        )
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ScheduleError(f"endpoint: must be http://… or https://…, got {endpoint!r}")
    if parts.username or parts.password:
        raise ScheduleError(
            f"endpoint: must not contain a user or password; a token is read from the file that "
            f"{TOKEN_PATH} names"
        )
    return endpoint.rstrip("/")


def _context(environ: Mapping[str, str]) -> dict[str, str]:
    path = Path(environ.get("HOME") or "/nonexistent") / CONTEXT
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _credentials(
    environ: Mapping[str, str], context: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Return the headers that authenticate a request, and a description of their source."""
    named = environ.get(TOKEN_PATH)
    if named or PROJECTED.exists():
        path = Path(named) if named else PROJECTED
        try:
            token = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise ScheduleError(f"{TOKEN_PATH}: {path} cannot be read: {reason}") from error
        if not token or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ScheduleError(f"{TOKEN_PATH}: {path} holds no token: it must be one line of text")
        return {"Authorization": f"Bearer {token}"}, f"the token of {path}"
    headers = {}
    if cookie := context.get("client_authentication_cookie"):
        headers["Cookie"] = cookie
    name = context.get("client_authentication_header_name")
    if name and (value := context.get("client_authentication_header_value")):
        headers[name] = value
    return headers, f"the credentials in ~/{CONTEXT}" if headers else ""


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """Return the innermost cause, without the addresses of Python objects."""
    inner: BaseException = getattr(error, "reason", None) or error
    cause = inner.__cause__ or inner.__context__
    said = getattr(cause, "strerror", None) or str(inner).rpartition(">: ")[2] or str(inner)
    return said.strip() or type(inner).__name__


def _said(content: object) -> str:
    """Return the message of KFP's API or of its upload."""
    if not isinstance(content, dict):
        return ""
    if inner := _innermost(content):
        return f": {inner}"
    for key in ("message", "error_message", "error"):
        if isinstance(said := content.get(key), str) and said.strip():
            return f": {' '.join(said.split())[:500]}"
    return ""


def _innermost(content: dict[str, Any]) -> str:
    """Return the root cause; `message` is the chain of calls that led to it."""
    details = content.get("details")
    first = details[0] if isinstance(details, list) and details else {}
    said = first.get("message") if isinstance(first, dict) else None
    return said if isinstance(said, str) and said != "Internal Server Error" else ""


def _may_not(content: object) -> str:
    """Return who lacks which permission, where KFP tells."""
    said = _innermost(content) if isinstance(content, dict) else ""
    found = _DENIED.search(said)
    if not found:
        return _said(content)
    return f": {found['who']} may not {found['verb']} {found['what']} in namespace {found['where']}"
