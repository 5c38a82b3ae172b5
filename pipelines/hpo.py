"""The graph: check, prepare, search, confirm, select, gate, register, report; compiled to hpo.yaml.

    python -m pipelines.hpo

One pipeline serves both engines. With katib the steps are light, and Katib's trials have the GPUs;
with local the steps train themselves, on the GPUs that the parameter `gpus` asks for.
"""

from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from pipelines import components

COMPILED = Path(__file__).with_name("hpo.yaml")
ACCELERATOR = "nvidia.com/gpu"


def _live(task: dsl.PipelineTask, image: Any) -> dsl.PipelineTask:
    """Give a task our image, and never take its work from a cache: it changes things elsewhere."""
    task.set_container_image(image).set_caching_options(False)
    return task


def _follow_on(
    searched: dsl.PipelineTask, told: dict[str, Any], image: Any, *, gpus: Any = None
) -> None:
    """Add everything after the search; `gpus` are those of the steps that train themselves.

    It stands in both branches: kfp.local cannot take an artifact from either (dsl.OneOf).
    """
    engine, data, run_id = told["engine"], told["dataset"], dsl.PIPELINE_JOB_ID_PLACEHOLDER
    confirmed = components.confirm(searched=searched.outputs["run"], engine=engine, dataset=data)
    selected = components.select(confirmed=confirmed.outputs["run"], engine=engine)
    gated = components.gate(selected=selected.outputs["run"], engine=engine, dataset=data)
    registered = components.register(
        gated=gated.outputs["run"], engine=engine, run_id=run_id, dataset=data
    )
    reported = components.report(registered=registered.outputs["run"])
    named = (
        ("search", searched),
        ("confirm", confirmed),
        ("select", selected),
        ("gate", gated),
        ("register", registered),
        ("report", reported),
    )
    for name, task in named:
        _live(task, image).set_display_name(name)
    if gpus is not None:
        for task in (searched, confirmed, gated):
            task.set_accelerator_type(ACCELERATOR).set_accelerator_limit(gpus)


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
        trials: Instead of budget.trials; 0 leaves it as it is.
        parallel: Instead of budget.parallel.
        minutes: Instead of budget.minutes; trials that still run then are stopped.
        namespace: Instead of cluster.namespace.
        trial_image: Instead of cluster.image.
        registry: Instead of register.registry.
        data_version: Any text that changes when data behind a hub id or URI have changed.
        gpus: GPUs of each step that trains, with the engine local.
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
    told = {"experiment": experiment, "engine": engine, "run_id": run_id, **overrides}
    with dsl.ExitHandler(_live(components.wind_up(**told), image), name="run"):
        checked = _live(components.check(**told), image)
        prepared = components.prepare(experiment=checked.outputs["data"], engine=engine)
        prepared.set_container_image(image).set_caching_options(True)
        given = {
            "experiment": checked.outputs["experiment"],
            "engine": engine,
            "dataset": prepared.outputs["dataset"],
        }
        with dsl.If(engine == "local", name="here"):
            _follow_on(components.search_here(**given, gpus=gpus), given, image, gpus=gpus)
        with dsl.Else(name="on-katib"):
            _follow_on(components.search(**given), given, image)


def compile_to(path: Path = COMPILED) -> Path:
    """Compile the pipeline to a file."""
    compiler.Compiler().compile(hpo, str(path))
    return path


if __name__ == "__main__":
    print(compile_to())
