"""The end of a run on this machine: the winner is evaluated on the test rows and registered.

Each step can be repeated: what is done is found and not done again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpo_pipeline.assets import ASSETS
from hpo_pipeline.backends.processes import ProcessServer
from hpo_pipeline.card import Evidence, model_card
from hpo_pipeline.errors import BackendError, DataError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.objective import with_score
from hpo_pipeline.progress import Progress
from hpo_pipeline.register import register
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results import (
    DATASET_FILE,
    MODEL_FOLDER,
    Confirmed,
    SearchResult,
    Trial,
    Winner,
)
from hpo_pipeline.run_folder import RunFolder


@dataclass(frozen=True)
class Chosen:
    """The winning trial of the search, and the run with its configuration whose model it gets.

    `result` is that run's, in a folder of runs; `seed` is what it was trained with.
    """

    trial: Trial
    result: Trial
    folder: Path
    seed: int
    confirmed: Confirmed | None = None

    @property
    def model(self) -> Path:
        return self.folder / self.result.name / MODEL_FOLDER

    def has_model(self) -> bool:
        return self.model.is_dir()


class LocalConclusion:
    """What happens to the winner of a run in a folder of this machine."""

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        *,
        source: Path,
        server: ProcessServer,
        progress: Progress,
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._source = source
        self._server = server
        self._progress = progress

    def is_known(self, chosen: Chosen) -> bool:
        """Tell whether an earlier part has copied the model of this winner."""
        known = self._folder.state().get("winner") or {}
        name = known.get("run") or known.get("name")
        return name == chosen.result.name and self._folder.model.is_dir()

    def conclude(
        self, chosen: Chosen, trials: Sequence[Trial], dataset: Path, registry_uri: str | None
    ) -> None:
        """Evaluate the winner on the held-out rows, write its folder, and register it."""
        best, is_known = chosen.result, self.is_known(chosen)
        if not is_known:
            self._progress.say(f"{best.name} is the best; it is evaluated on the test rows")
            _copy_folder(chosen.model, self._folder.model)
        for other in self._folder.confirmation.trials.glob(f"*/{MODEL_FOLDER}"):
            if other != chosen.model:
                shutil.rmtree(other)
        test = self._folder.state()["winner"].get("test") if is_known else None
        if not test:
            test = self._evaluate(self._folder.model, dataset, best)
        meta = json.loads((dataset / DATASET_FILE).read_text("utf-8"))
        evidence = replace(self._evidence(meta, test, trials), confirmed=chosen.confirmed)
        card = model_card(self._experiment, best, evidence)
        (self._folder.model / "README.md").write_text(card, "utf-8")
        result = Winner(
            name=chosen.trial.name,
            assignments=best.assignments,
            metrics=best.metrics,
            test=test,
            model=str(self._folder.model),
            run=best.name if best.name != chosen.trial.name else None,
        )
        self._folder.write_state(winner=asdict(result), fingerprint=meta["fingerprint"])
        if self._experiment.register_ is None:
            return
        registration = register(
            self._experiment,
            best,
            self._folder.model,
            registry=open_registry(registry_uri or self._experiment.register_.registry),
            evidence={"data_hash": meta["fingerprint"], **_revision(self._source.parent)},
            test=test,
            evaluate=lambda model: self._evaluate(model, dataset, best),
        )
        record = registration.record
        named = f"{record.name} version {record.version}"
        result = replace(result, registered=named, note=registration.reason)
        self._folder.write_state(winner=asdict(result))
        self._progress.say(f"registered as {named}: {registration.reason}")

    def _evaluate(self, model: Path, dataset: Path, best: Trial) -> dict[str, float]:
        """Return the metrics of a model folder on the test rows, measured alone on the machine."""
        out = self._folder.path / "evaluated.json"
        out.unlink(missing_ok=True)
        log = self._folder.path / "evaluate.log"
        task = self._experiment.task
        length = best.assignments.get("task.max_length", task.max_length)
        argv = ["--experiment", str(self._folder.experiment_file), "--dataset", str(dataset)]
        argv += ["--model", str(model), "--max-length", str(length), "--out", str(out)]
        code = self._server.run("evaluate", "evaluate", argv, log=log)
        if not out.exists():
            raise BackendError(f"{model}: the evaluation ended with exit code {code}; see {log}")
        content = json.loads(out.read_text("utf-8"))
        if "error" in content:
            raise DataError(content["error"])
        is_own = model == self._folder.model
        own = {"train_seconds": best.metrics["train_seconds"]} if is_own else {}
        return with_score({**content["metrics"], **own}, self._experiment.objective)

    def _evidence(
        self, meta: Mapping[str, Any], test: Mapping[str, float], trials: Sequence[Trial]
    ) -> Evidence:
        asset = ASSETS.get(self._experiment.task.model)
        return Evidence(
            test=test,
            counts=SearchResult("", "", 0.0, tuple(trials)).counts(),
            source=meta["source"],
            fingerprint=meta["fingerprint"],
            rows=meta["rows"],
            labels=meta["labels"],
            majority=meta["majority"],
            licence=asset.licence if asset else None,
            base_model=asset.source if asset else self._experiment.task.model,
        )


def _copy_folder(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another, never leaving half of it under its name."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


def _revision(folder: Path) -> dict[str, str]:
    """Return the git commit of the experiment file, if there is one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"source_revision": done.stdout.strip()}
