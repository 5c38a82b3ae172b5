"""The steps as lightweight components of Kubeflow Pipelines, on an image with our package.

Each body imports a stage of hpo_pipeline/kubeflow/steps, calls it, and hands its numbers to the
page of the step. Bodies are copied into the pipeline as text, so they import what they need.
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
    TaskConfigPassthrough,
)

IMAGE = "hpo-pipeline:dev"

PASSED_ON = [
    TaskConfigPassthrough(field=field, apply_to_task=True)
    for field in (
        TaskConfigField.RESOURCES,
        TaskConfigField.KUBERNETES_TOLERATIONS,
        TaskConfigField.KUBERNETES_NODE_SELECTOR,
        TaskConfigField.KUBERNETES_AFFINITY,
        TaskConfigField.ENV,
        TaskConfigField.KUBERNETES_VOLUMES,
    )
]
"""What is set on the step `search` also holds for its trials on Katib, GPUs excepted.

It holds for the step itself as well, because with the engine local the step trains.
"""


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
    gpus: int,
) -> NamedTuple("Checked", [("experiment", str), ("data", str)]):
    """Check the experiment and its registry, report all faults at once, and name this run."""
    from hpo_pipeline.kubeflow.steps import check, overriding

    return check(experiment, engine, run_id, gpus=gpus, **overriding(locals()))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(experiment: str, engine: str, dataset: Output[Dataset]):
    """Read, split and tokenise the data, once."""
    from hpo_pipeline.kubeflow.steps import prepare

    dataset.metadata.update(prepare(experiment, engine, dataset.path))


@dsl.component(base_image=IMAGE, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def search(
    experiment: str,
    engine: str,
    gpus: int,
    dataset: Input[Dataset],
    run: Output[Artifact],
    models: Output[Artifact],
    metrics: Output[Metrics],
    task_config: dsl.TaskConfig,
):
    """Search: follow an experiment of Katib until it ends, or train in this step."""
    from hpo_pipeline.kubeflow.steps import search

    arguments = {
        "dataset": dataset.path,
        "models": models.path,
        "gpus": gpus,
        "pods": vars(task_config),
    }
    metrics.metadata.update(search(experiment, engine, run.path, **arguments))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def confirm(
    searched: Input[Artifact],
    engine: str,
    dataset: Input[Dataset],
    run: Output[Artifact],
    models: Output[Artifact],
):
    """Train the best configurations again with other seeds, if the experiment says so."""
    from hpo_pipeline.kubeflow.steps import confirm

    confirm(searched.path, engine, run.path, dataset=dataset.path, models=models.path)


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
    searched: Input[Artifact],
    confirmed: Input[Artifact],
    run: Output[Artifact],
    models: Output[Artifact],
    test: Output[Metrics],
    confusion: Output[ClassificationMetrics],
) -> NamedTuple("Gate", [("promote", bool), ("reason", str)]):
    """Measure the winner and the champion on the test rows, and decide between them."""
    from hpo_pipeline.kubeflow.steps import gate, shown_gate

    earlier = (searched.path, confirmed.path)
    arguments = {"dataset": dataset.path, "earlier": earlier, "models": models.path}
    return shown_gate(gate(selected.path, engine, run.path, **arguments), test, confusion)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    gated: Input[Artifact],
    engine: str,
    run_id: str,
    dataset: Input[Dataset],
    searched: Input[Artifact],
    confirmed: Input[Artifact],
    retrained: Input[Artifact],
    run: Output[Artifact],
    model: Output[Model],
) -> str:
    """Register the winner; it becomes champion if it beats the champion of that moment."""
    from hpo_pipeline.kubeflow.steps import register, shown_model

    earlier = (searched.path, confirmed.path, retrained.path)
    arguments = {"dataset": dataset.path, "earlier": earlier, "run_id": run_id}
    found = register(gated.path, engine, run.path, **arguments)
    return shown_model(found, run.path, model, earlier=earlier)


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
    """Stop what still runs, and report what the cluster knows of a run that has failed."""
    from hpo_pipeline.kubeflow.steps import overriding, wind_up

    arguments = {"status": status.state, "leaderboard": leaderboard.path}
    wind_up(experiment, engine, run_id, **arguments, **overriding(locals()))
