"""What the steps show in the pipeline's UI: page, leaderboard, metrics, the registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.kubeflow.steps.workspace import FolderPath
from hpo_pipeline.report import markdown as summary
from hpo_pipeline.results.outcome import GateResult, RegistrationResult
from hpo_pipeline.results.run_folder import RunFolder


def report(run: FolderPath, html: FolderPath, markdown: FolderPath) -> dict[str, float]:
    """Write the report and the leaderboard of a run folder; return the numbers of the run."""
    from hpo_pipeline.report.html import write_report

    folder, page, table = RunFolder(Path(run)), Path(html), Path(markdown)
    experiment, result = folder.experiment(), folder.result()
    for file in (page, table):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_report(experiment, result, page, run_info=folder.info())
    table.write_text(summary.markdown(experiment, result, folder.state()), "utf-8")
    return summary.figures(experiment, result)


def shown_gate(found: GateResult, test: Any, confusion: Any) -> tuple[bool, str]:
    """Put the measurements of the gate on the page of its step; return what it says.

    Args:
        test: the step's Metrics of Kubeflow Pipelines.
        confusion: its ClassificationMetrics.
    """
    test.metadata.update(found.evaluation.metrics)
    if found.evaluation.confusion:
        rows = [list(row) for row in found.evaluation.confusion]
        confusion.log_confusion_matrix(list(found.evaluation.labels), rows)
    return found.promote, found.reason


def shown_model(found: RegistrationResult | None, run: FolderPath, model: Any) -> str:
    """Make the step's Model of Kubeflow Pipelines the registered one; return its name."""
    folder = RunFolder(Path(run))
    state = folder.state()
    model.metadata.update(framework="transformers", run=folder.experiment().name)
    if found is None:
        model.metadata["model"] = state.winner.model if state.winner else None
        return ""
    model.uri = found.uri
    model.metadata.update(
        name=found.model, version=found.version, champion=found.is_champion, reason=found.reason
    )
    return found.title
