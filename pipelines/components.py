"""The steps as lightweight components of Kubeflow Pipelines, on an image with our package.

Each body imports a stage of hpo_pipeline/steps.py, calls it, and hands its numbers to the page of
the step. Bodies are copied into the pipeline as text: what they need they import.
"""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Markdown,
    Metrics,
    Model,
    Output,
    TaskConfigField,
)

IMAGE = "hpo-pipeline:dev"

PASSED_ON = [
    TaskConfigField.RESOURCES,
    TaskConfigField.KUBERNETES_TOLERATIONS,
    TaskConfigField.KUBERNETES_NODE_SELECTOR,
    TaskConfigField.KUBERNETES_AFFINITY,
    TaskConfigField.ENV,
    TaskConfigField.KUBERNETES_VOLUMES,
]
"""What is set on the search step and meant for its trials: GPUs, tolerations, volumes and so on."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def check(
    experiment: str,
    engine: str,
    run_id: str,
    trials: int,
    parallel: int,
    minutes: float,
    namespace: str,
    trial_image: str,
    registry: str,
    data_version: str,
) -> NamedTuple("Checked", [("experiment", str), ("data", str)]):
    """Check the experiment, with all faults at once, and name this run of it."""
    from hpo_pipeline.kubeflow.steps import check, overriding

    return check(experiment, engine, run_id, **overriding(locals()))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(experiment: str, engine: str, dataset: Output[Dataset]):
    """Read, split and tokenise the data, once."""
    from hpo_pipeline.kubeflow.steps import prepare

    dataset.metadata.update(prepare(experiment, engine, dataset.path))


@dsl.component(base_image=IMAGE, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def search(
    experiment: str,
    engine: str,
    dataset: Input[Dataset],
    run: Output[Artifact],
    metrics: Output[Metrics],
    task_config: dsl.TaskConfig,
):
    """Search on Katib: launch the experiment, or come back to it, and follow it to its end."""
    from hpo_pipeline.kubeflow.steps import search

    found = search(experiment, engine, run.path, dataset=dataset.path, pods=vars(task_config))
    metrics.metadata.update(found)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def search_here(
    experiment: str,
    engine: str,
    gpus: int,
    dataset: Input[Dataset],
    run: Output[Artifact],
    metrics: Output[Metrics],
):
    """Search inside this step: its pod has the GPU."""
    from hpo_pipeline.kubeflow.steps import search

    found = search(experiment, engine, run.path, dataset=dataset.path, gpus=gpus)
    metrics.metadata.update(found)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def confirm(searched: Input[Artifact], engine: str, dataset: Input[Dataset], run: Output[Artifact]):
    """Train the best configurations again with other seeds, where the experiment says so."""
    from hpo_pipeline.kubeflow.steps import confirm

    confirm(searched.path, engine, run.path, dataset=dataset.path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def select(confirmed: Input[Artifact], engine: str, run: Output[Artifact]) -> str:
    """Choose the winner: constraints first, then the objective, or the rule of the experiment."""
    from hpo_pipeline.kubeflow.steps import select

    return select(confirmed.path, engine, run.path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    selected: Input[Artifact],
    engine: str,
    dataset: Input[Dataset],
    run: Output[Artifact],
    test: Output[Metrics],
    confusion: Output[ClassificationMetrics],
) -> NamedTuple("Gate", [("promote", bool), ("reason", str)]):
    """Measure the winner and the champion on the test rows, and decide between them."""
    from hpo_pipeline.kubeflow.steps import gate, shown_gate

    found = gate(selected.path, engine, run.path, dataset=dataset.path)
    return shown_gate(found, test, confusion)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    gated: Input[Artifact],
    engine: str,
    run_id: str,
    dataset: Input[Dataset],
    run: Output[Artifact],
    model: Output[Model],
) -> str:
    """Register the winner; it becomes champion if it beats the one that there is by now."""
    from hpo_pipeline.kubeflow.steps import register, shown_model

    found = register(gated.path, engine, run.path, dataset=dataset.path, run_id=run_id)
    return shown_model(found, run.path, model)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    registered: Input[Artifact],
    page: Output[HTML],
    leaderboard: Output[Markdown],
    metrics: Output[Metrics],
):
    """Write the report, the leaderboard and the numbers of the run."""
    from hpo_pipeline.kubeflow.steps import report

    metrics.metadata.update(report(registered.path, page.path, leaderboard.path))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def wind_up(
    experiment: str,
    engine: str,
    run_id: str,
    trials: int,
    parallel: int,
    minutes: float,
    namespace: str,
    trial_image: str,
    registry: str,
    data_version: str,
    leaderboard: Output[Markdown],
    status: dsl.PipelineTaskFinalStatus,
):
    """End what still runs, and report on a run that has failed from what the cluster knows."""
    from hpo_pipeline.kubeflow.steps import overriding, wind_up

    told = {"status": f"{status.state} {status.error_message}", "leaderboard": leaderboard.path}
    wind_up(experiment, engine, run_id, **told, **overriding(locals()))
