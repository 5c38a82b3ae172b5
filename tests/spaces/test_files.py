"""`hpo import`: files of Katib, W&B and NNI, with the constructs of their documentation."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
import yaml

from hpo_pipeline.cli.main import main
from hpo_pipeline.experiment.loading import read

KATIB = """
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {namespace: kubeflow, name: shop-search}
spec:
  objective:
    type: maximize
    goal: 0.99
    objectiveMetricName: Validation-accuracy
    additionalMetricNames: [Train-accuracy]
  algorithm: {algorithmName: tpe, algorithmSettings: [{name: n_startup_trials, value: "5"}]}
  earlyStopping:
    algorithmName: medianstop
    algorithmSettings: [{name: min_trials_required, value: "4"}, {name: start_step, value: "2"}]
  parallelTrialCount: 3
  maxTrialCount: 12
  maxFailedTrialCount: 2
  parameters:
    - name: lr
      parameterType: double
      feasibleSpace: {min: "0.001", max: "0.1", distribution: logUniform}
    - {name: num-layers, parameterType: int, feasibleSpace: {min: "2", max: "5"}}
    - {name: momentum, parameterType: double, feasibleSpace: {min: "0.5", max: "0.9", step: "0.1"}}
    - {name: optimizer, parameterType: categorical, feasibleSpace: {list: [sgd, adam, ftrl]}}
    - {name: batch, parameterType: discrete, feasibleSpace: {list: ["16", "32"]}}
    - name: noise
      parameterType: double
      feasibleSpace: {min: "0", max: "1", distribution: normal}
  trialTemplate:
    primaryContainerName: training
    trialParameters: [{name: lr, reference: lr}]
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec: {template: {spec: {containers: [{name: training, command: [python3, /opt/fit.py]}]}}}
"""
SWEEP = """
program: train.py
name: sweepdemo
method: bayes
run_cap: 30
metric: {goal: minimize, name: validation/loss, target: 0.1}
command: [python, train.py]
parameters:
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.1}
  exponent: {distribution: log_uniform, min: -9.21, max: -2.3}
  batch_size: {values: [16, 32, 64]}
  epochs: {value: 10}
  layers: {min: 1, max: 4}
  dropout: {min: 0.0, max: 0.5}
  momentum: {distribution: q_uniform, min: 0.5, max: 1.0, q: 0.1}
  noise: {distribution: normal, mu: 1, sigma: 0.5}
  odd: {distribution: beta, min: 0.0, max: 1.0}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      decay: {min: 0.0, max: 0.1}
early_terminate: {type: hyperband, min_iter: 3, eta: 2, strict: true}
"""
NNI = """
experimentName: mnist example
searchSpaceFile: space.json
trialCommand: python3 mnist.py
trialConcurrency: 2
maxTrialNumber: 10
maxExperimentDuration: 1h
tuner: {name: TPE, classArgs: {optimize_mode: minimize, seed: 3}}
assessor: {name: Medianstop, classArgs: {start_step: 5}}
trainingService: {platform: local}
trialGpuNumber: 1
"""


def imported(tmp_path, text, name="foreign.yaml"):
    file = tmp_path / name
    file.write_text(dedent(text))
    out = tmp_path / "ours.yaml"
    code = main(["import", str(file), "--out", str(out), "--force"])
    assert code == 0
    return yaml.safe_load(out.read_text()), out


def test_an_experiment_of_katib(tmp_path, capsys):
    found, out = imported(tmp_path, KATIB)
    said = capsys.readouterr().out
    assert found["name"] == "shop-search"
    assert found["objective"] == {"metric": "Validation_accuracy", "goal": "maximize"}
    assert found["search"]["algorithm"] == "tpe"
    assert found["stopping"] == {"algorithm": "median", "min_trials": 4, "start_step": 2}
    assert found["budget"] == {"trials": 12, "parallel": 3, "max_failed": 2, "target": 0.99}
    assert found["space"]["lr"] == {"type": "float", "low": 0.001, "high": 0.1, "log": True}
    assert found["space"]["num_layers"] == {"type": "int", "low": 2, "high": 5}
    assert found["space"]["batch"]["values"] == [16, 32]
    assert found["task"]["script"] == "fit.py"
    assert "not carried over: space.noise: has the distribution normal" in said
    assert "n_startup_trials" in said
    assert "# Not carried over:" in out.read_text()
    assert read(out)[1] == []


def test_a_sweep_of_wandb(tmp_path, capsys):
    found, out = imported(tmp_path, SWEEP)
    said = capsys.readouterr().out
    assert found["space"]["learning_rate"]["log"] is True
    assert found["space"]["exponent"]["high"] == pytest.approx(0.1, rel=0.01)
    assert found["space"]["layers"] == {"type": "int", "low": 1, "high": 4}
    assert found["space"]["momentum"]["step"] == 0.1
    assert found["space"]["optimizer_name"]["values"] == ["adam", "sgd"]
    assert found["stopping"] == {
        "algorithm": "hyperband",
        "grace_period": 3,
        "reduction_factor": 2,
    }
    assert found["budget"] == {"trials": 30, "target": 0.1}
    for lost in ("space.noise", "space.odd", "command", "early_terminate: strict"):
        assert f"not carried over: {lost}" in said
    assert "# The same in all trials: {epochs: 10}" in out.read_text()
    assert read(out)[1] == []


def test_a_config_of_nni_with_its_search_space(tmp_path, capsys):
    space = {"lr": {"_type": "loguniform", "_value": [0.0001, 0.1]}}
    (tmp_path / "space.json").write_text(json.dumps(space))
    found, out = imported(tmp_path, NNI)
    said = capsys.readouterr().out
    assert found["budget"] == {"trials": 10, "parallel": 2, "minutes": 60.0}
    assert found["objective"] == {"metric": "default", "goal": "minimize"}
    assert found["stopping"] == {"algorithm": "median", "start_step": 5}
    assert "not carried over: trialGpuNumber" in said
    assert read(out)[1] == []
    alone, _ = imported(tmp_path, json.dumps(space), "space2.json")
    assert list(alone["space"]) == ["lr"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", "just: text", "is not an Experiment of Katib, a sweep of W&B"),
        ("a.yaml", "[1, 2]", "must hold one mapping"),
        ("a.yaml", "a: [", "cannot be read as YAML or JSON"),
        ("a.json", "{", "cannot be read as YAML or JSON"),
        ("a.yaml", "a: !!python/object/apply:os.system [x]", "cannot be read as YAML or JSON"),
        ("a.py", "raise SystemExit(9)", "is Python, which would be run to read its space"),
        ("a.yaml", "searchSpaceFile: gone.json", "the search space cannot be read"),
    ],
)
def test_what_cannot_be_imported(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_text(content)
    assert main(["import", str(tmp_path / name), "--out", str(tmp_path / "x.yaml")]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there_is_said(tmp_path, capsys):
    assert main(["import", str(tmp_path / "gone.yaml")]) == 2
    assert "gone.yaml: cannot be read: No such file or directory" in capsys.readouterr().err


def test_python_is_imported_only_when_its_name_is_given(tmp_path, capsys):
    module = tmp_path / "my_space.py"
    module.write_text("def space(trial):\n    trial.suggest_float('lr', 0.1, 1)\n")
    out = tmp_path / "x.yaml"
    assert main(["import", f"{module}:space", "--from", "optuna", "--out", str(out)]) == 0
    assert yaml.safe_load(out.read_text())["space"]["lr"]["high"] == 1.0
    assert main(["import", f"{module}:none", "--from", "optuna", "--out", str(tmp_path / "y")]) == 2
    assert "cannot be imported: AttributeError" in capsys.readouterr().err
