"""The door to an MLflow server, through its client, which only this file imports.

An entry is a parameter of one run per model (experiment `hpo-pipeline`): MLflow never changes a
parameter, and of two that arrive at once its database keeps one. The registered model was created
with the id of that run as a tag. Each version has a run of its own, with its files, parameters
and metrics. Aliases and other tags are for people and other tools; nothing here relies on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import CANDIDATE, CHAMPION, Candidate
from hpo_pipeline.registry.server import mlflow_tags as texts
from hpo_pipeline.registry.server.ledger import Claim
from hpo_pipeline.registry.server.mlflow_experiments import (
    EXISTS,
    PARENT_TAG,
    experiment_named,
    experiment_of,
)

LEDGERS = "hpo-pipeline"
LEDGER_TAG = "hpo-pipeline.ledger"
MODEL_TAG = "hpo-pipeline.model"
KEY_TAG = "hpo-pipeline.key"
FILES = "model"
BATCH = 100
ATTEMPTS = 20
MISSING = "RESOURCE_DOES_NOT_EXIST"


class MlflowStore:
    """An `EntryStore` on an MLflow server with a database; the server says where files go."""

    # Creating a version takes some tenths of a second; two for a claim would leave a gap.
    patience = 5.0

    def __init__(self, url: str, environ: Mapping[str, str], *, is_trusted: bool = True) -> None:
        """Open a server; one that is not trusted may not say that files go to this machine."""
        self.name = url
        self._environ = environ
        self._is_trusted = is_trusted
        self._client = MlflowClient(url, url)

    def names(self) -> list[str]:
        with self._translated():
            found = _pages(
                self._client.search_registered_models, filter_string=f"tags.`{LEDGER_TAG}` != ''"
            )
            return [model.name for model in found if model.latest_versions]

    def entries(self, model: str) -> list[str]:
        with self._translated():
            ledger = self._ledger(model)
            params = self._client.get_run(ledger).data.params if ledger else {}
        heads = {int(key): value for key, value in params.items() if key.isdecimal()}
        return [texts.join(heads[number], params) for number in sorted(heads)]

    def append(self, model: str, number: int, entry: str) -> bool:
        with self._translated():
            ledger = self._ledger(model) or self._create_model(model)
            head, pieces = texts.split(entry)
            if pieces:
                self._client.log_batch(ledger, params=[Param(*piece) for piece in pieces.items()])
            key = f"{number:06d}"
            try:
                self._client.log_param(ledger, key, head)
            except MlflowException as error:
                is_refused = error.error_code == "INVALID_PARAMETER_VALUE"
                if is_refused and key in self._client.get_run(ledger).data.params:
                    return False
                raise
        return True

    def store(self, candidate: Candidate, folder: Path) -> str:
        now = int(time.time() * 1000)
        test = {f"test_{name}": value for name, value in candidate.test_metrics.items()}
        metrics = [Metric(n, v, now, 0) for n, v in {**candidate.metrics, **test}.items()]
        params = [Param(n, str(v)[: texts.PIECE]) for n, v in candidate.assignments.items()]
        with self._translated():
            info = self._client.create_run(
                experiment_of(self._client, self._environ, candidate.experiment, self.name),
                run_name=f"{candidate.name}: {candidate.trial}",
                tags=self._tags_of_run(candidate),
            ).info
            run: str = info.run_id
            self._check_place(str(info.artifact_uri))
            for start in range(0, max(len(metrics), len(params)), BATCH):
                part = slice(start, start + BATCH)
                self._client.log_batch(run, metrics=metrics[part], params=params[part])
            self._client.log_artifacts(run, str(folder), FILES)
            self._client.set_terminated(run)
        return run

    def discard(self, location: str) -> None:
        # The server keeps the files of deleted runs until its `mlflow gc`.
        with self._translated(), suppress(MlflowException):
            self._client.delete_run(location)

    def publish(self, claim: Claim) -> tuple[int, str]:
        with self._translated():
            versions = self._versions(claim)
            version = min(versions) if versions else self._create_version(claim)
        return version, f"models:/{claim.candidate.name}/{version}"

    def tidy(self, claim: Claim, version: int) -> None:
        name, key = claim.candidate.name, claim.candidate.key
        same = f"tags.`{MODEL_TAG}` = '{name}' and tags.`{KEY_TAG}` = '{key}'"
        with self._translated():
            for other in self._versions(claim):
                if other != version:
                    with suppress(MlflowException):
                        self._client.delete_model_version(name, str(other))
            home = [self._client.get_run(claim.location).info.experiment_id]
            runs = list(_pages(self._client.search_runs, experiment_ids=home, filter_string=same))
        for run in runs:
            if run.info.run_id != claim.location:
                self.discard(run.info.run_id)

    def point(self, model: str, champion: int | None, candidate: int | None) -> None:
        with self._translated():
            for attempt in range(ATTEMPTS):
                try:
                    return self._point(model, {CHAMPION: champion, CANDIDATE: candidate})
                except MlflowException as error:
                    # Two requests that set a new alias at once collide in the server's database.
                    if error.error_code != "BAD_REQUEST" or attempt == ATTEMPTS - 1:
                        raise

    def has(self, model: str, version: int) -> bool:
        with self._translated():
            return _is_there(lambda: self._client.get_model_version(model, str(version)))

    def download(self, claim: Claim, folder: Path) -> Path:
        with self._translated():
            return Path(self._client.download_artifacts(claim.location, FILES, str(folder)))

    def _check_place(self, uri: str) -> None:
        """Check where the client will write files: the server says it."""
        if not self._is_trusted and urlsplit(uri).scheme in ("", "file"):
            raise RegistryError(
                f"{self.name}: the server keeps files in a folder of this machine, {uri!r:.200}, "
                f"and the experiment alone names it; give --registry to allow that"
            )

    def _point(self, model: str, wanted: Mapping[str, int | None]) -> None:
        have = self._client.get_registered_model(model).aliases
        for alias, version in wanted.items():
            if version is None and alias in have:
                self._client.delete_registered_model_alias(model, alias)
            elif version is not None and str(have.get(alias)) != str(version):
                self._client.set_registered_model_alias(model, alias, str(version))

    def _ledger(self, model: str) -> str | None:
        """Return the run that holds the entries of a model, or None where there is no model."""
        try:
            tags = self._client.get_registered_model(model).tags
        except MlflowException as error:
            if error.error_code == MISSING:
                return None
            raise
        if LEDGER_TAG not in tags:
            raise RegistryError(
                f"{self.name}: {model} must be a model of hpo-pipeline, got one that something "
                f"else created; choose another name for register.model"
            )
        ledger: str = tags[LEDGER_TAG]
        return ledger

    def _create_model(self, model: str) -> str:
        """Create a model and its run of entries; where several create one, the model names it."""
        experiment = experiment_named(self._client, LEDGERS, self.name)
        ledger = self._client.create_run(experiment, run_name=f"history of {model}").info.run_id
        try:
            self._client.create_registered_model(model, tags={LEDGER_TAG: ledger})
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
        # The server decides: the client repeats a request whose response was lost.
        chosen = self._ledger(model)
        if chosen is None:
            raise RegistryError(f"{self.name}: {model} was deleted while it was created; try again")
        if chosen != ledger:
            self._client.delete_run(ledger)
        return chosen

    def _tags_of_run(self, candidate: Candidate) -> dict[str, str]:
        parent = self._environ.get("MLFLOW_RUN_ID")
        return {
            MODEL_TAG: candidate.name,
            KEY_TAG: candidate.key,
            **{f"hpo-pipeline.{name}": text for name, text in texts.tags(candidate).items()},
            **({PARENT_TAG: parent} if parent else {}),
        }

    def _versions(self, claim: Claim) -> list[int]:
        where = f"name = '{claim.candidate.name}' and run_id = '{claim.location}'"
        found = _pages(self._client.search_model_versions, filter_string=where)
        return [int(version.version) for version in found]

    def _create_version(self, claim: Claim) -> int:
        candidate = claim.candidate
        tags = texts.tags(candidate) | texts.record(candidate)
        source = f"{self._client.get_run(claim.location).info.artifact_uri}/{FILES}"
        for attempt in range(ATTEMPTS):
            try:
                made = self._client.create_model_version(
                    candidate.name, source, claim.location, tags=tags, await_creation_for=0
                )
                return int(made.version)
            except MlflowException as error:
                # The server gives up after others have taken the number three times.
                if "giving up" not in str(error).lower() or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as error:
            raise RegistryError(texts.message(self.name, error)) from error


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Yield the results on all pages of a search."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _is_there(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except MlflowException as error:
        if error.error_code == MISSING:
            return False
        raise
    return True
