"""The graph: check, prepare, search, confirm, select, gate, register, report; compiled to hpo.yaml.

    python -m pipelines.hpo

One graph without branches serves both engines; each step decides by its parameter `engine`. With
katib the steps are light and Katib's trials have the GPUs. With local the steps train themselves,
on the GPUs that the parameter `gpus` asks for.
"""

from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from pipelines import components

COMPILED = Path(__file__).with_name("hpo.yaml")
ACCELERATOR = "nvidia.com/gpu"


def _on(task: dsl.PipelineTask, image: Any, *, gpus: Any = None) -> dsl.PipelineTask:
    """Give a step our image, and GPUs if it trains; never take its result from a cache."""
    task.set_container_image(image).set_caching_options(False)
    if gpus is not None:
        task.set_accelerator_type(ACCELERATOR).set_accelerator_limit(gpus)
    return task


@dsl.pipeline(
    name="hpo",
    description="Tunes a transformer by practical metrics, and registers what beats the champion",
)
def hpo(
    experiment: str,
    engine: str = "katib",
    image: str = components.IMAGE,
    trials: int = 0,
    parallel: int = 0,
    minutes: float = 0.0,
    namespace: str = "",
    trial_image: str = "",
    registry: str = "",
    data_version: str = "",
    gpus: int = 0,
) -> None:
    """Tune, confirm, select, gate, register and report.

    Args:
        experiment: The text of an experiment file.
        engine: katib (trials are pods), or local (trials run inside the steps).
        image: The image of the steps; with the engine local one that can train.
        trials: Instead of budget.trials; 0 keeps the value of the experiment.
        parallel: Instead of budget.parallel.
        minutes: Instead of budget.minutes; trials that still run then are stopped.
        namespace: Instead of cluster.namespace.
        trial_image: Instead of cluster.image.
        registry: Instead of register.registry.
        data_version: Any text that changes when the data behind a hub id or URI have changed.
        gpus: GPUs of each step that trains, with the engine local; on Katib see cluster.gpus.
    """
    overrides = {
        "trials": trials,
        "parallel": parallel,
        "minutes": minutes,
        "namespace": namespace,
        "trial_image": trial_image,
        "registry": registry,
        "data_version": data_version,
    }
    run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    arguments = {"experiment": experiment, "engine": engine, "run_id": run_id, **overrides}
    with dsl.ExitHandler(_on(components.wind_up(**arguments), image), name="run"):
        checked = _on(components.check(**arguments, gpus=gpus), image)
        prepared = components.prepare(experiment=checked.outputs["data"], engine=engine)
        prepared.set_container_image(image).set_caching_options(True)
        data = {"engine": engine, "dataset": prepared.outputs["dataset"]}
        searched = components.search(experiment=checked.outputs["experiment"], gpus=gpus, **data)
        _on(searched, image, gpus=gpus)
        confirmed = components.confirm(searched=searched.outputs["run"], **data)
        _on(confirmed, image, gpus=gpus)
        selected = _on(components.select(confirmed=confirmed.outputs["run"], engine=engine), image)
        models = {
            "searched": searched.outputs["models"],
            "confirmed": confirmed.outputs["models"],
        }
        gated = components.gate(selected=selected.outputs["run"], **models, **data)
        _on(gated, image, gpus=gpus)
        models["retrained"] = gated.outputs["models"]
        registered = components.register(
            gated=gated.outputs["run"], run_id=run_id, **models, **data
        )
        _on(registered, image)
        _on(components.report(registered=registered.outputs["run"]), image)


def compile_to(path: Path = COMPILED) -> Path:
    """Compile the pipeline to a file."""
    compiler.Compiler().compile(hpo, str(path))
    return path


if __name__ == "__main__":
    print(compile_to())
