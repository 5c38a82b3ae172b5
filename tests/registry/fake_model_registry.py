"""A Kubeflow Model Registry in memory: names are unique below a parent, PATCH replaces."""

from __future__ import annotations

import json
from typing import Any

from tests.registry.fake_server import FakeServer, Reply

API = "/api/model_registry/v1alpha3"
KINDS = "registered_models"
ONE = "registered_model|model_version"
INNER = "versions|artifacts"


class FakeModelRegistry(FakeServer):
    routes = {
        f"GET {API}/({ONE})": "find",
        f"GET {API}/({KINDS})": "list_all",
        f"POST {API}/({KINDS})": "create",
        f"PATCH {API}/registered_models/([0-9]+)": "update",
        f"GET {API}/[a-z_]+/([0-9]+)/({INNER})": "list_inner",
        f"POST {API}/[a-z_]+/([0-9]+)/({INNER})": "create_inner",
    }

    def __init__(self) -> None:
        super().__init__()
        self.objects: list[dict[str, Any]] = []

    def find(self, kind: str, query: dict[str, str], body: bytes) -> Reply:
        place = (kind.removeprefix("model_") + "s", query.get("parentResourceId", ""))
        for found in self._of(*place):
            if found["name"] == query["name"]:
                return 200, found
        return 404, {"code": "Not Found", "message": f"no {kind} found for name={query['name']}"}

    def list_all(self, kind: str, query: dict[str, str], body: bytes) -> Reply:
        return self._page(self._of(kind, ""), query)

    def list_inner(self, parent: str, kind: str, query: dict[str, str], body: bytes) -> Reply:
        return self._page(self._of(kind, parent), query)

    def create(self, kind: str, query: dict[str, str], body: bytes) -> Reply:
        return self._create(kind, "", json.loads(body))

    def create_inner(self, parent: str, kind: str, query: dict[str, str], body: bytes) -> Reply:
        return self._create(kind, parent, json.loads(body))

    def update(self, number: str, query: dict[str, str], body: bytes) -> Reply:
        found = self.objects[int(number) - 1]
        found |= json.loads(body)
        return 200, found

    def _create(self, kind: str, parent: str, content: dict[str, Any]) -> Reply:
        if any(o["name"] == content["name"] for o in self._of(kind, parent)):
            return 409, {"code": "Conflict", "message": f"{content['name']} already exists"}
        own = {"id": str(len(self.objects) + 1), "kind": kind, "parent": parent}
        self.objects.append({"customProperties": {}, "state": "LIVE", **content, **own})
        return 201, self.objects[-1]

    def _of(self, kind: str, parent: str) -> list[dict[str, Any]]:
        return [o for o in self.objects if o["kind"] == kind and o["parent"] == parent]

    def _page(self, found: list[dict[str, Any]], query: dict[str, str]) -> Reply:
        start, size = int(query.get("nextPageToken", 0)), int(query.get("pageSize", 100))
        more = str(start + size) if start + size < len(found) else ""
        return 200, {"items": found[start : start + size], "nextPageToken": more}
