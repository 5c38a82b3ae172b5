"""The door to a Kubeflow Model Registry (also "Kubeflow Hub"): its REST API v1alpha3.

An entry is an experiment run with its number as the name, in the experiment `hpo-pipeline/MODEL`:
the database has a unique index on names. Files lie in a store; the registry knows their URI. Not
through its Python client: that configures logging when imported, runs an event loop, and cannot
tell a name that is taken from other errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.ledger import Claim
from hpo_pipeline.registry.record import CANDIDATE, CHAMPION, Candidate
from hpo_pipeline.registry.rest import Rest
from hpo_pipeline.registry.store import Store

API = "/api/model_registry/v1alpha3"
LEDGERS = "hpo-pipeline/"
ENTRY = "entry"
MARK = "hpo-pipeline"
KEY = "key"
RECORD = "record"
ARTIFACT = "model"
PAGE = 100
CREATE_ATTEMPTS = 100
TAKEN = 409
MISSING = 404
POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
PROPERTIES = (
    *("experiment", "trial", "objective", "reason", "data_hash", "space_hash", "model_sha256"),
    *("image_digest", "source_revision", "run", KEY),
)

Object = dict[str, Any]


def token(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the bearer token: the one given, or the pod's, which only https may carry."""
    if given := environ.get("HPO_REGISTRY_TOKEN"):
        return given
    file = Path(environ.get("KF_PIPELINES_SA_TOKEN_PATH") or POD_TOKEN)
    if url.startswith("https://") and file.is_file():
        return file.read_text("utf-8").strip()
    return None


class KubeflowPlace:
    """A `Place` on a Model Registry. Without a store it can only be read."""

    # Two processes that publish one claim meet at the version's name.
    patience = 0.0

    def __init__(self, rest: Rest, store: Store | None) -> None:
        self.name = rest.url
        self._rest = rest
        self._store = store

    def names(self) -> list[str]:
        models = self._list("/registered_models")
        return [model["name"] for model in models if MARK in model.get("customProperties", {})]

    def entries(self, model: str) -> list[str]:
        experiment = self._find("/experiment", name=LEDGERS + model)
        if experiment is None:
            return []
        runs = self._list(f"/experiments/{experiment['id']}/experiment_runs")
        return [_text(run, ENTRY) for run in sorted(runs, key=lambda run: int(run["name"]))]

    def append(self, model: str, number: int, entry: str) -> bool:
        experiment = self._made("/experiments", "/experiment", {"name": LEDGERS + model})
        body = {
            "name": str(number),
            "experimentId": experiment["id"],
            "status": "FINISHED",
            "customProperties": _properties({ENTRY: entry}),
        }
        path = f"{API}/experiments/{experiment['id']}/experiment_runs"
        if self._rest.ask("POST", path, body, allow=(TAKEN,)).status != TAKEN:
            return True
        # The answer to a first attempt may have been lost: then the name is taken by this entry.
        same = self._find("/experiment_run", name=str(number), parentResourceId=experiment["id"])
        return same is not None and _text(same, ENTRY) == entry

    def store(self, candidate: Candidate, folder: Path) -> str:
        return self._files().put(candidate, folder)

    def discard(self, location: str) -> None:
        """Nothing: the place follows from the content, and may be another version's as well."""

    def publish(self, claim: Claim) -> tuple[int, str]:
        model = self._made(
            "/registered_models", "/registered_model", {"name": claim.candidate.name}
        )
        version = self._version(model, claim.candidate)
        body = _artifact(claim)
        path = f"{API}/model_versions/{version['id']}/artifacts"
        self._rest.ask("POST", path, body, allow=(TAKEN,))
        return int(version["name"]), claim.location

    def tidy(self, claim: Claim, version: int) -> None:
        """Nothing: a key never has two versions here."""

    def point(self, model: str, champion: int | None, candidate: int | None) -> None:
        found = self._known(model)
        have = found.get("customProperties", {})
        ours = {
            alias: str(version)
            for alias, version in ((CHAMPION, champion), (CANDIDATE, candidate))
            if version is not None
        }
        others = {k: v for k, v in have.items() if k not in (CHAMPION, CANDIDATE, MARK)}
        # The server replaces all properties of an object at once.
        wanted = {**others, **_properties({**ours, MARK: "v1"})}
        if wanted != have:
            body = {"customProperties": wanted}
            self._rest.ask("PATCH", f"{API}/registered_models/{found['id']}", body)

    def has(self, model: str, version: int) -> bool:
        home = self._known(model)["id"]
        return self._find("/model_version", name=str(version), parentResourceId=home) is not None

    def download(self, claim: Claim, folder: Path) -> Path:
        return self._files().get(claim.candidate, folder)

    def _version(self, model: Object, candidate: Candidate) -> Object:
        """Return the version of a key, made with the next free number if need be."""
        path = f"/registered_models/{model['id']}/versions"
        for _ in range(CREATE_ATTEMPTS):
            versions = list(self._list(path))
            for version in versions:
                if _text(version, KEY) == candidate.key:
                    return version
            numbers = [int(v["name"]) for v in versions if v["name"].isdecimal()]
            body = _version(model, candidate, number=max(numbers, default=0) + 1)
            answer = self._rest.ask("POST", API + path, body, allow=(TAKEN,))
            if answer.status != TAKEN:
                return answer.body
        raise RegistryError(f"{self.name}: {candidate.name}: no free version; try again")

    def _files(self) -> Store:
        if self._store is None:
            raise RegistryError(
                f"{self.name}: must have a place for model files, got none; "
                f"add ?store=FOLDER or ?store=URI to the registry's URI"
            )
        return self._store

    def _known(self, model: str) -> Object:
        found = self._find("/registered_model", name=model)
        if found is None:
            raise RegistryError(f"{self.name}: no model of this name, got {model!r}")
        return found

    def _find(self, path: str, **query: str) -> Object | None:
        answer = self._rest.ask("GET", API + path, query=query, allow=(MISSING,))
        return None if answer.status == MISSING else answer.body

    def _made(self, path: str, by_name: str, body: Object) -> Object:
        """Return the object of a name, made if need be."""
        found = self._find(by_name, name=body["name"])
        if found is None:
            answer = self._rest.ask("POST", API + path, body, allow=(TAKEN,))
            found = answer.body if answer.status != TAKEN else None
        found = found or self._find(by_name, name=body["name"])
        if found is None:
            raise RegistryError(
                f"{self.name}: {body['name']} cannot be made, got: its name is taken"
            )
        return found

    def _list(self, path: str) -> Iterator[Object]:
        token = ""
        while True:
            query = {"pageSize": str(PAGE), "orderBy": "ID"}
            query |= {"nextPageToken": token} if token else {}
            page = self._rest.ask("GET", API + path, query=query).body
            yield from page.get("items", ())
            token = page.get("nextPageToken", "")
            if not token:
                return


def _properties(values: Mapping[str, str | float]) -> Object:
    return {
        name: {"metadataType": "MetadataStringValue", "string_value": value}
        if isinstance(value, str)
        else {"metadataType": "MetadataDoubleValue", "double_value": float(value)}
        for name, value in values.items()
    }


def _text(found: Object, name: str) -> str:
    return str(found.get("customProperties", {}).get(name, {}).get("string_value", ""))


def _version(model: Object, candidate: Candidate, *, number: int) -> Object:
    texts = {name: str(value) for name in PROPERTIES if (value := getattr(candidate, name))}
    seeds = " ".join(f"{name}={seed}" for name, seed in candidate.seeds.items())
    record = json.dumps(candidate.to_json(), ensure_ascii=False)
    return {
        "name": str(number),
        "registeredModelId": model["id"],
        "author": "hpo-pipeline",
        "description": candidate.reason,
        "customProperties": _properties(
            {
                **{f"test_{name}": value for name, value in candidate.test_metrics.items()},
                **texts,
                **({"seeds": seeds} if seeds else {}),
                RECORD: record,
            }
        ),
    }


def _artifact(claim: Claim) -> Object:
    candidate = claim.candidate
    source = {"modelSourceKind": "hpo-pipeline", "modelSourceClass": "trial"}
    if candidate.run:
        # As Kubeflow's KEP-12020 wants it of models that a pipeline made.
        source = {"modelSourceKind": "kfp", "modelSourceClass": "pipelinerun"}
    return {
        "artifactType": "model-artifact",
        "name": ARTIFACT,
        "uri": claim.location,
        "modelFormatName": "transformers",
        "modelSourceGroup": candidate.experiment,
        "modelSourceId": candidate.run or candidate.key,
        "modelSourceName": candidate.trial,
        **source,
    }
