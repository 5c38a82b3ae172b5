"""The driver of Kubeflow Model Registries (also "Kubeflow Hub"): a REST API, v1 or v1alpha3.

    kubeflow://HOST:PORT?store=URI&public=URI      over https kubeflows://

The token comes from HPO_REGISTRY_TOKEN, for a host that its owner named (credentials.py); else it
is the pod's own, which goes to services of the cluster alone, over https.

An entry is a version, named by its number, of an archived model `history of MODEL`: the database
has a unique index on names. (Experiments would be a better place, but v1 has none.) A store keeps
the files; the registry knows their URI. Its Python client is not used: a client supports one
version of the API, configures logging on import, and does not distinguish a taken name from other
errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.record import CANDIDATE, CHAMPION, Candidate
from hpo_pipeline.registry.server.address import Address, parse, reach
from hpo_pipeline.registry.server.credentials import is_in_cluster, refusal
from hpo_pipeline.registry.server.driver import ServedRegistry
from hpo_pipeline.registry.server.ledger import Claim
from hpo_pipeline.registry.server.rest import Answer, Rest
from hpo_pipeline.registry.server.store import Store

APIS = ("/api/model_registry/v1", "/api/model_registry/v1alpha3")
LEDGERS = "history of "
ENTRY = "entry"
MARK = "hpo-pipeline"
KEY = "key"
RECORD = "record"
PAGE = 100
CREATE_ATTEMPTS = 100
TAKEN = 409
MISSING = 404
NO_STORE = (
    "needs a place for model files, got none; add ?store=FOLDER or ?store=URI to the registry's URI"
)
CREDENTIALS = (
    "a token comes from HPO_REGISTRY_TOKEN, for a host that you name (--registry, HPO_REGISTRY or "
    "HPO_REGISTRY_TOKEN_HOST); else it is the pod's own, for https://NAME.NAMESPACE.svc"
)
POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
PROPERTIES = (
    *("experiment", "trial", "objective", "reason", "data_hash", "space_hash", "model_sha256"),
    *("image_digest", "source_revision", "run", KEY),
)

Object = dict[str, Any]
_HIDDEN = {
    "state": "ARCHIVED",
    "description": "The entries behind a model of hpo-pipeline: keep it.",
}


class KubeflowDriver:
    """The `Driver` of Kubeflow Model Registries."""

    form = "kubeflow://HOST:PORT?store=URI"

    def open(self, uri: str, access: Access) -> ServedRegistry:
        address, store = _place(uri)
        return ServedRegistry(KubeflowStore(_rest(address, access), store))

    def check(self, uri: str) -> None:
        _place(uri)

    def preflight(self, uri: str, access: Access, *, elsewhere: bool) -> None:
        address, store = _place(uri)
        if store is None:
            raise RegistryError(f"{address.url}: {NO_STORE}")
        reach(address)
        if not elsewhere:
            store.check_writable()
            self.open(uri, access).names()


KUBEFLOW = KubeflowDriver()


def _place(uri: str) -> tuple[Address, Store | None]:
    secure = ("kubeflows", "kubeflow+https")
    address = parse(uri, secure=secure, options=("store", "public"), credentials=CREDENTIALS)
    store, public = address.options.get("store"), address.options.get("public")
    if store is None and public is not None:
        raise RegistryError(
            "the registry's option public is another URI of the store, got no store"
        )
    for name, place in (("store", store), ("public", public)):
        if "://" in (place or "") and urlsplit(place or "").password:
            raise RegistryError(
                f"the registry's option {name} must be without a password: it is kept with every "
                f"model; the store's driver reads credentials from the environment"
            )
    return address, Store(store, public) if store else None


def _rest(address: Address, access: Access) -> Rest:
    reason = refusal(address, access)
    if given := access.environ.get("HPO_REGISTRY_TOKEN"):
        if reason:
            raise RegistryError(
                f"{address.url}: there are credentials in HPO_REGISTRY_TOKEN; {reason}; or remove "
                f"them for this command"
            )
        return Rest(address.url, token=given, hint="check HPO_REGISTRY_TOKEN")
    return Rest(address.url, token=_pod_token(address, access.environ), hint=CREDENTIALS)


def _pod_token(address: Address, environ: Mapping[str, str]) -> str | None:
    """Return the token of the pod's account, for a service of its own cluster over https."""
    file = Path(environ.get("KF_PIPELINES_SA_TOKEN_PATH") or POD_TOKEN)
    if address.is_secure and is_in_cluster(address.host) and file.is_file():
        return file.read_text("utf-8").strip()
    return None


class KubeflowStore:
    """An `EntryStore` on a Model Registry. Without a store it can only be read."""

    # Two processes that publish one claim collide at the version's name.
    patience = 0.0

    def __init__(self, rest: Rest, store: Store | None) -> None:
        self.name = rest.url
        self._rest = rest
        self._api: str | None = None
        self._store = store

    def names(self) -> list[str]:
        models = self._list("/registered_models")
        return [model["name"] for model in models if MARK in _properties_of(model)]

    def entries(self, model: str) -> list[str]:
        ledger = self._find("/registered_model", name=LEDGERS + model)
        if ledger is None:
            return []
        found = self._list(f"/registered_models/{ledger['id']}/versions")
        numbered = {e["name"]: e for e in found if e["name"].isdecimal()}
        return [_text(numbered[name], ENTRY) for name in sorted(numbered, key=int)]

    def append(self, model: str, number: int, entry: str) -> bool:
        ledger = self._made({"name": LEDGERS + model, **_HIDDEN})
        body = {
            "name": str(number),
            "registeredModelId": ledger["id"],
            "customProperties": _properties({ENTRY: entry}),
            **_HIDDEN,
        }
        path = f"/registered_models/{ledger['id']}/versions"
        if self._ask("POST", path, body, allow=(TAKEN,)).status != TAKEN:
            return True
        # The response to a first attempt may have been lost: then this entry has taken the name.
        same = self._find("/model_version", name=str(number), parentResourceId=ledger["id"])
        return same is not None and _text(same, ENTRY) == entry

    def store(self, candidate: Candidate, folder: Path) -> str:
        return self._files().put(candidate, folder)

    def discard(self, location: str) -> None:
        """Do nothing: the location follows from the content, and another version may share it."""

    def publish(self, claim: Claim) -> tuple[int, str]:
        model = self._made({"name": claim.candidate.name})
        version = self._version(model, claim.candidate)
        path = f"/model_versions/{version['id']}/artifacts"
        self._ask("POST", path, _artifact(claim), allow=(TAKEN,))
        return int(version["name"]), claim.location

    def tidy(self, claim: Claim, version: int) -> None:
        """Do nothing: a key never has two versions here."""

    def point(self, model: str, champion: int | None, candidate: int | None) -> None:
        found = self._known(model)
        have = _properties_of(found)
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
            self._ask("PATCH", f"/registered_models/{found['id']}", body)

    def has(self, model: str, version: int) -> bool:
        home = self._known(model)["id"]
        return self._find("/model_version", name=str(version), parentResourceId=home) is not None

    def download(self, claim: Claim, folder: Path) -> Path:
        return self._files().get(claim.candidate, folder)

    def _version(self, model: Object, candidate: Candidate) -> Object:
        """Return the version of a key; create it with the next free number where it is missing."""
        path = f"/registered_models/{model['id']}/versions"
        for _ in range(CREATE_ATTEMPTS):
            versions = list(self._list(path))
            for version in versions:
                if _text(version, KEY) == candidate.key:
                    return version
            numbers = [int(v["name"]) for v in versions if v["name"].isdecimal()]
            body = _version(model, candidate, number=max(numbers, default=0) + 1)
            answer = self._ask("POST", path, body, allow=(TAKEN,))
            if answer.status != TAKEN:
                return self._object(answer.body)
        raise RegistryError(f"{self.name}: {candidate.name}: no free version; try again")

    def _files(self) -> Store:
        if self._store is None:
            raise RegistryError(f"{self.name}: {NO_STORE}")
        return self._store

    def _known(self, model: str) -> Object:
        found = self._find("/registered_model", name=model)
        if found is None:
            raise RegistryError(f"{self.name}: no model of this name, got {model!r}")
        return found

    def _find(self, path: str, **query: str) -> Object | None:
        answer = self._ask("GET", path, query=query, allow=(MISSING,))
        return None if answer.status == MISSING else self._object(answer.body)

    def _made(self, body: Object) -> Object:
        """Return the model with a name; create it where it is missing."""
        name = body["name"]
        found = self._find("/registered_model", name=name)
        if found is None:
            answer = self._ask("POST", "/registered_models", body, allow=(TAKEN,))
            found = self._object(answer.body) if answer.status != TAKEN else None
        return found or self._known(name)

    def _list(self, path: str) -> Iterator[Object]:
        token = ""
        while True:
            query = {"pageSize": str(PAGE), "orderBy": "ID"}
            query |= {"nextPageToken": token} if token else {}
            page = self._ask("GET", path, query=query).body
            yield from map(self._object, page.get("items") or ())
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _object(self, found: object) -> Object:
        if isinstance(found, dict) and all(isinstance(found.get(n), str) for n in ("id", "name")):
            return found
        raise RegistryError(
            f"{self.name}: must be a Kubeflow Model Registry, got an answer without id and name: "
            f"{found!r:.80}"
        )

    def _ask(self, method: str, path: str, body: Object | None = None, **more: Any) -> Answer:
        if self._api is None:
            self._api = self._speaks()
        return self._rest.ask(method, self._api + path, body, **more)

    def _speaks(self) -> str:
        """Return the path of the newest API that the server supports."""
        for api in APIS:
            query = {"pageSize": "1"}
            found = self._rest.ask("GET", f"{api}/registered_models", query=query, allow=(MISSING,))
            if found.status != MISSING:
                return api
        raise RegistryError(
            f"{self.name}: must be a Kubeflow Model Registry, got 404 for {' and '.join(APIS)}"
        )


def _properties(values: Mapping[str, str | float]) -> Object:
    return {
        name: {"metadataType": "MetadataStringValue", "string_value": value}
        if isinstance(value, str)
        else {"metadataType": "MetadataDoubleValue", "double_value": float(value)}
        for name, value in values.items()
    }


def _properties_of(found: Object) -> Object:
    have = found.get("customProperties")
    return have if isinstance(have, dict) else {}


def _text(found: Object, name: str) -> str:
    have = _properties_of(found).get(name)
    return str(have.get("string_value", "")) if isinstance(have, dict) else ""


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
        # As Kubeflow's KEP-12020 asks for models that a pipeline made.
        source = {"modelSourceKind": "kfp", "modelSourceClass": "pipelinerun"}
    return {
        "artifactType": "model-artifact",
        "name": candidate.name,  # as the registry's own client names and looks for it
        "uri": claim.location,
        "modelFormatName": "transformers",
        "modelSourceGroup": candidate.experiment,
        "modelSourceId": candidate.run or candidate.key,
        "modelSourceName": candidate.trial,
        **source,
    }
