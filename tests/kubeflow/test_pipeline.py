"""The compiled pipeline, and the whole of it run for real by kfp.local with subprocesses."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path

import pytest
import yaml

from hpo_pipeline.registry import open_registry
from pipelines import hpo as graph
from tests import nursery

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "experiments" / "digits.yaml"


@pytest.fixture(scope="module")
def compiled():
    return list(yaml.safe_load_all(graph.COMPILED.read_text("utf-8")))


def executors(compiled):
    return compiled[0]["deploymentSpec"]["executors"]


def test_the_compiled_file_is_what_the_code_says(tmp_path):
    """`make pipeline` writes it."""
    assert graph.compile_to(tmp_path / "hpo.yaml").read_text() == graph.COMPILED.read_text()


def test_every_step_is_on_an_image_that_can_be_chosen_and_installs_nothing(compiled):
    for executor in executors(compiled).values():
        container = executor["container"]
        assert container["image"] == "{{$.inputs.parameters['pipelinechannel--image']}}"
        assert "pip install" not in " ".join(container["command"])


def tasks(found):
    if isinstance(found, dict):
        yield from found.get("tasks", {}).items()
        for value in found.values():
            yield from tasks(value)


def test_only_the_preparation_may_come_from_a_cache(compiled):
    cached = {
        name
        for name, task in tasks(compiled[0])
        if task["componentRef"]["name"].removeprefix("comp-") in names_of_steps(compiled)
        and task.get("cachingOptions", {}).get("enableCache")
    }
    assert cached == {"prepare"}


def names_of_steps(compiled):
    return {name.removeprefix("exec-") for name in executors(compiled)}


def test_what_is_set_on_the_search_goes_to_its_trials(compiled):
    passed = compiled[0]["components"]["comp-search"]["taskConfigPassthroughs"]
    assert {entry["field"] for entry in passed} == {
        *("RESOURCES", "ENV", "KUBERNETES_TOLERATIONS", "KUBERNETES_NODE_SELECTOR"),
        *("KUBERNETES_AFFINITY", "KUBERNETES_VOLUMES"),
    }
    # with the engine local the step itself trains
    assert all(entry["applyToTask"] for entry in passed)


def test_the_graph_has_no_branches(compiled):
    """The UI would call each of them "Condition Branch"."""
    assert "triggerPolicy:\n            condition" not in graph.COMPILED.read_text("utf-8")
    names = [name for name, task in tasks(compiled[0]) if name in names_of_steps(compiled)]
    assert sorted(names) == sorted(names_of_steps(compiled))


@pytest.fixture
def run_pipeline(tmp_path, monkeypatch):
    """Return a function that runs the pipeline here and returns the folders of its steps."""
    from kfp import local
    from kfp.local import subprocess_task_handler

    python = shlex.join(nursery.python())
    monkeypatch.setattr(
        subprocess_task_handler, "environment", lambda **given: contextlib.nullcontext(python)
    )
    monkeypatch.chdir(tmp_path)

    def run(**parameters):
        root = tmp_path / "steps"
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(root),
            raise_on_error=True,
        )
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                graph.hpo(**parameters)
        finally:
            (tmp_path / "said.txt").write_text(said.getvalue())
        return {step.name: step for step in next(root.iterdir()).iterdir()}

    return run


def answer(step):
    return json.loads((step / "executor_output.json").read_text())


@pytest.mark.filterwarnings("ignore")  # of kfp's own
def test_the_pipeline_runs_for_real_and_registers_a_champion(run_pipeline, tmp_path):
    registry = str(tmp_path / "models")
    steps = run_pipeline(
        experiment=DIGITS.read_text("utf-8"), engine="local", trials=2, registry=registry
    )
    champion = open_registry(registry).champion("digits")
    assert champion.test_metrics["accuracy"] > 0.2
    assert champion.experiment.startswith("digits-")
    metrics = answer(steps["report"])["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert metrics["trials"] == 2
    assert metrics["best_accuracy"] > 0.2
    assert {"stopped", "failed", "gpu_seconds", "gpu_seconds_saved"} <= metrics.keys()
    confusion = answer(steps["gate"])["artifacts"]["confusion"]["artifacts"][0]["metadata"]
    rows = confusion["confusionMatrix"]["rows"]
    assert sum(sum(row["row"]) for row in rows) == 400
    model = answer(steps["register"])["artifacts"]["model"]["artifacts"][0]
    assert model["metadata"]["model"] == champion.model_uri
    assert model["uri"].endswith("/register/model")  # Kubeflow Pipelines' own, and it is written
    assert json.loads((steps["register"] / "model").read_text())["version"] == 1
    assert "**digits version 1**" in (steps["report"] / "leaderboard").read_text()
    page = (steps["report"] / "page").read_text()
    assert "<script src=" not in page  # it is shown in a frame that fetches nothing


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_experiment_fails_first_with_all_faults(run_pipeline, tmp_path):
    text = DIGITS.read_text("utf-8").replace("low: 1.0e-5", "low: 1.0").replace("24", "0")
    with pytest.raises(RuntimeError, match="check"):
        run_pipeline(experiment=text, engine="local", registry="/somewhere")
    said = (tmp_path / "said.txt").read_text()
    assert "2 faults" in said
    assert "space.learning_rate" in said
    assert "budget.trials" in said
