"""What steps show in the UI of the pipeline: page, leaderboard, metrics, the registered model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.kubeflow.steps.experiment_text import registry_of
from hpo_pipeline.kubeflow.steps.models import place_of_winner
from hpo_pipeline.kubeflow.steps.workspace import FolderPath
from hpo_pipeline.reports import markdown as summary
from hpo_pipeline.results.outcome import GateResult, RegistrationResult
from hpo_pipeline.results.run_folder import RunFolder


def report(run: FolderPath, html: FolderPath, markdown: FolderPath) -> dict[str, float]:
    """Write the report and the leaderboard of a run folder; return the numbers of the run."""
    from hpo_pipeline.reports.html import write_report

    folder, page, table = RunFolder(Path(run)), Path(html), Path(markdown)
    experiment, result = folder.experiment(), folder.result()
    for file in (page, table):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_report(experiment, result, page, run_info=folder.info())
    table.write_text(summary.markdown(experiment, result, folder.state()), "utf-8")
    return summary.figures(experiment, result)


def shown_gate(found: GateResult, test: Any, confusion: Any) -> tuple[bool, str]:
    """Put the measurements of the gate on the page of its step; return the decision.

    Args:
        test: the step's Metrics of Kubeflow Pipelines.
        confusion: its ClassificationMetrics.
    """
    test.metadata.update(found.evaluation.metrics)
    if found.evaluation.confusion:
        rows = [list(row) for row in found.evaluation.confusion]
        confusion.log_confusion_matrix(list(found.evaluation.labels), rows)
    return found.promote, found.reason


def shown_model(
    found: RegistrationResult | None,
    run: FolderPath,
    model: Any,
    *,
    earlier: Sequence[FolderPath] = (),
) -> str:
    """Fill the step's Model of Kubeflow Pipelines; return the registered version as text.

    It gets a small JSON file that says where the model is, even without a registration, because
    newer releases fail a step that leaves an artifact empty. Its `uri` stays the one that Kubeflow
    Pipelines gave it: others fail the step (s3://) or lose the artifact (models:/, file://).

    Args:
        model: the step's Model.
        earlier: the artifacts with the models of `search`, `confirm` and `gate`.
    """
    folder = RunFolder(Path(run))
    experiment, winner = folder.experiment(), folder.state().winner
    place = place_of_winner([Path(artifact) for artifact in earlier], folder)
    about: dict[str, Any] = {
        "framework": "transformers",
        "run": experiment.name,
        "winner": winner.name if winner else None,
        "model": place or (winner.model if winner else None),
    }
    if found is not None:
        about |= {
            "model": found.uri,
            "name": found.model,
            "version": found.version,
            "champion": found.is_champion,
            "reason": found.reason,
            "registry": registry_of(experiment),
        }
    path = Path(model.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    model.metadata.update({name: value for name, value in about.items() if value is not None})
    return found.title if found else ""
