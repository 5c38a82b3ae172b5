"""Every kind whose models can be exported: the artefact says what PyTorch says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.training.trainings import TrialSpec, build_trainer
from tests.tasks.test_contract import CASES, write_rows

EXPORTED = ("one label", "several labels", "numbers", "entities")


def test_the_cases_have_every_kind_of_texts_that_exports() -> None:
    kinds = {name for name, kind in TASKS.items() if kind.exports and kind.has_text}
    assert {CASES[name].kind for name in EXPORTED} == kinds


@pytest.mark.parametrize("name", EXPORTED)
def test_predictions_of_an_artefact_are_those_of_pytorch(
    name: str, pair_bert: Path, write_experiment: Any, tmp_path: Path
) -> None:
    case = CASES[name]
    data = write_rows(case, tmp_path, count=60)
    task = (
        f"kind: {case.kind}\nmodel: {pair_bert}\ndata: {data}\nmax_length: 16\n{case.fields}\n"
        f"rows: {{train: 20, validation: 20, test: 20}}\n"
    )
    objective = "{metric: loss, goal: minimize}"
    file = write_experiment(task=task, objective=objective, serve="{format: onnx}")
    experiment = load(file)
    dataset = prepare(experiment, tmp_path)
    spec = TrialSpec("t", 0, {"learning_rate": 0.02}, dataset, tmp_path / "t", 0)
    built = build_trainer(experiment.task.assigned(spec.assignments), spec, tmp_path / "out")
    model = built.save(tmp_path / "model").eval()
    served, quality = built.serve(experiment.serve, model, tmp_path / "model")
    assert served is not None
    assert served.drift < 1e-4
    assert quality["loss"] > 0
    for batch in built.trainer.get_eval_dataloader():
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        with torch.inference_mode():
            expected = model(**inputs).logits
        assert torch.allclose(served.model(**inputs).logits, expected, atol=1e-4)
