"""The live page over HTTP: a few JSON answers and the files of the page; it only reads, but for
stopping a run and what people ask of one (asking.py).

Anyone who can open the port can read logs and stop runs: so a token is needed wherever it is not on
loopback, and on loopback only requests that name this machine are answered (no DNS rebinding).
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpo_pipeline.errors import HpoError
from hpo_pipeline.monitoring.asking import MOST_BYTES, Refused, ask_run, wanted
from hpo_pipeline.monitoring.cached_run import RunView
from hpo_pipeline.monitoring.live_data import compared, form, run_detail, run_row, trial_detail
from hpo_pipeline.monitoring.run_cache import RunCache
from hpo_pipeline.monitoring.stopping import stop_run
from hpo_pipeline.registry import Registry
from hpo_pipeline.reports.comparison import MOST_COMPARED, compare

STATIC = Path(__file__).parent / "static"
FILES = {"app.js", "charts.js", "comparison.js", "dom.js", "forms.js", "views.js", "style.css"}
COOKIE = "hpo_token"
FIRST_READS = 0.5
"""Seconds that the list of runs waits for those that are read for the first time."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class LivePage:
    """What the page shows, and to whom; `token` is None on loopback."""

    cache: RunCache
    hosts: frozenset[str]
    token: str | None = None
    registry: Callable[[], Registry] | None = None


def application(page: LivePage) -> Starlette:
    """Return the application."""
    answers = _Answers(page)
    routes = [
        Route("/", answers.index),
        Route("/static/{name}", answers.static),
        Route("/api/runs", answers.runs),
        Route("/api/runs/{run}", answers.run),
        Route("/api/runs/{run}/stop", answers.stop, methods=["POST"]),
        Route("/api/runs/{run}/form", answers.form),
        Route("/api/runs/{run}/requests", answers.ask, methods=["POST"]),
        Route("/api/runs/{run}/trials/{trial}", answers.trial),
        Route("/api/compare", answers.compare),
        Route("/api/models", answers.models),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_Guard, page=page)])


class _Guard:
    """Adds the headers of security, and lets nobody in who must not be."""

    def __init__(self, app: ASGIApp, page: LivePage) -> None:
        self._app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self._page.token is None and name not in self._page.hosts:
            return _error(421, f"this page is served as {', '.join(sorted(self._page.hosts))} only")
        if self._page.token is not None and not self._has_token(request):
            return _error(401, "open the address with the token that `hpo ui` printed")
        if request.method == "POST":
            origin = request.headers.get("origin", "").partition("://")[2]
            if origin != host or request.headers.get("x-hpo") != "1":
                return _error(403, "actions are taken from the page only")
        return None

    def _has_token(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        found = given if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        if request.url.path == "/" and "token" in request.query_params:
            found = request.query_params["token"]
        return hmac.compare_digest(found.encode(), (self._page.token or "").encode())


class _Answers:
    """The answer to each request; whatever reads files does so in a thread."""

    def __init__(self, page: LivePage) -> None:
        self._page = page

    async def index(self, request: Request) -> Response:
        if "token" in request.query_params and self._page.token is not None:
            # Out of the address, so that it stays neither in the history nor in a bookmark.
            response: Response = RedirectResponse("/", status_code=303)
            response.set_cookie(COOKIE, self._page.token, httponly=True, samesite="strict")
            return response
        return FileResponse(STATIC / "index.html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        return FileResponse(STATIC / name) if name in FILES else _error(404, "no such file")

    async def runs(self, request: Request) -> Response:
        return await _timed(lambda: self._listed(request))

    async def run(self, request: Request) -> Response:
        return await self._of_run(request, run_detail)

    async def trial(self, request: Request) -> Response:
        name = request.path_params["trial"]
        return await self._of_run(request, lambda view: trial_detail(view, name))

    async def form(self, request: Request) -> Response:
        name = request.query_params.get("trial", "")
        return await self._of_run(request, lambda view: form(view, name))

    async def compare(self, request: Request) -> Response:
        names = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 2 <= len(names) <= MOST_COMPARED:
            return _error(400, f"name 2 to {MOST_COMPARED} runs")
        views = await run_in_threadpool(lambda: [self._page.cache.view(n) for n in names])
        found = [compared(view) for view in views if view is not None]
        if len(found) < 2:
            return _error(404, "fewer than two of these runs are there")
        missing = [name for name, view in zip(names, views, strict=True) if view is None]
        answer = await run_in_threadpool(lambda: compare(found, missing=missing).shown())
        return _answer(request, answer)

    async def models(self, request: Request) -> Response:
        try:
            return _answer(request, await run_in_threadpool(self._models))
        except (HpoError, OSError) as error:
            return _error(503, f"the registry cannot be read: {error}")

    async def stop(self, request: Request) -> Response:
        view = await run_in_threadpool(self._page.cache.view, request.path_params["run"])
        if view is None:
            return _error(404, "this run is not there any more")
        said = await run_in_threadpool(stop_run, view.folder)
        return JSONResponse({"said": said})

    async def ask(self, request: Request) -> Response:
        view = await run_in_threadpool(self._page.cache.view, request.path_params["run"])
        if view is None:
            return _error(404, "this run is not there any more")
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                return _error(413, f"at most {MOST_BYTES} bytes are read")
        try:
            said = await run_in_threadpool(lambda: ask_run(view, wanted(content)))
        except Refused as error:
            return _error(400, f"refused: {error}")
        return JSONResponse({"said": said})

    async def _of_run(self, request: Request, read: Callable[[RunView], Any]) -> Response:
        def found() -> Response:
            view = self._page.cache.view(request.path_params["run"])
            content = None if view is None else read(view)
            if content is None:
                return _error(404, "this is not there any more, or cannot be read")
            return _answer(request, content)

        return await _timed(found)

    def _listed(self, request: Request) -> Response:
        views, unread = self._page.cache.views_within(FIRST_READS)
        return _answer(request, {"runs": [run_row(view) for view in views], "unread": unread})

    def _models(self) -> dict[str, Any]:
        registry = self._page.registry() if self._page.registry else None
        names = registry.names() if registry else []
        return {"models": [_model(registry, name) for name in names] if registry else []}


def _model(registry: Registry, name: str) -> dict[str, Any]:
    champion = registry.champion(name)
    return {
        "name": name,
        "champion": champion.version if champion else None,
        "versions": [
            {
                "version": v.version,
                "stage": v.stage.value,
                "created": v.created,
                "experiment": v.experiment,
                "trial": v.trial,
                "test": v.test_metrics,
            }
            for v in registry.versions(name)
        ],
        "history": [event.to_json() for event in registry.history(name)],
    }


async def _timed(answer: Callable[[], Response]) -> Response:
    begun = time.perf_counter()
    response = await run_in_threadpool(answer)
    took = (time.perf_counter() - begun) * 1000
    response.headers["Server-Timing"] = f"app;dur={took:.1f}"
    return response


def _answer(request: Request, content: Any) -> Response:
    """Return JSON, or nothing where the page has just this already."""
    text = json.dumps(content, allow_nan=False).encode()
    tag = f'"{sha256(text).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(text, media_type="application/json", headers={"etag": tag})


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
