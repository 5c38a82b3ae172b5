"""The real trial command on the tiny model: in this process where it can be, else in its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_from_disk
from transformers import AutoTokenizer

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.results.trial import Point, Trial, TrialState, read_trial
from hpo_pipeline.trial.__main__ import ENGINE_GONE_EXIT, main
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand, full_argv
from hpo_pipeline.trial.reporting.reporter import read_metric_line
from hpo_pipeline.trial.reporting.stop_request import StopRequest


@pytest.fixture
def run(write_experiment, tmp_path):
    """Return a function that runs one trial of an experiment and returns its result."""

    def run_trial(assignments, *, name="t", **sections) -> Trial:
        command = make_command(write_experiment(**sections), tmp_path, assignments, name)
        main(command.argv())
        trial = read_trial(command.output / name)
        assert trial is not None
        return trial

    return run_trial


def make_command(file: Path, tmp_path: Path, assignments, name="t") -> TrialCommand:
    dataset = prepare(load(file), tmp_path)
    return TrialCommand(file, dataset, tmp_path / "trials", name, 0, assignments)


LR = {"learning_rate": "0.02"}


def test_a_trial_learns_and_leaves_its_result(run):
    trial = run(LR)
    assert trial.state == TrialState.SUCCEEDED
    assert trial.metrics["accuracy"] > 0.9
    assert len(trial.curve) == 3
    assert trial.training_steps == 3 * 120 / 8


def test_the_practical_metrics_are_measured(run, tmp_path):
    metrics = run(LR).metrics
    assert 0 < metrics["latency_p50_ms"] <= metrics["latency_p95_ms"]
    weights = tmp_path / "trials/t/model/model.safetensors"
    assert metrics["model_size_mb"] == weights.stat().st_size / 1e6
    assert min(metrics[n] for n in ("throughput_per_s", "parameters_m", "peak_memory_mb")) > 0


def test_a_seed_makes_a_trial_repeatable_to_the_last_digit(run):
    one, other = run(LR, name="one"), run(LR, name="other")
    assert [p.metrics for p in one.curve] == [p.metrics for p in other.curve]


def test_another_seed_gives_another_trial(run):
    other = run(LR, name="other", search="{algorithm: random, seed: 2}")
    assert run(LR).curve[0].metrics["loss"] != other.curve[0].metrics["loss"]


def test_the_result_and_the_model_are_those_of_the_best_evaluation(run, write_experiment, tmp_path):
    trial = run({"learning_rate": "0.1"}, objective="{metric: loss, goal: minimize}")
    best = min(trial.curve, key=lambda point: point.metrics["loss"])
    assert trial.best_step == best.step
    assert trial.metrics["loss"] == best.metrics["loss"]
    # The saved model gives the same loss on rows that were evaluated then.
    experiment = load(tmp_path / "toy.yaml")
    dataset = prepare(experiment, tmp_path)
    evaluated: Any = load_from_disk(str(dataset / "validation"))
    tokenizer = AutoTokenizer.from_pretrained(str(dataset / "processor"))
    ids = evaluated["input_ids"][:]
    texts = {"input": tokenizer.batch_decode(ids, skip_special_tokens=True)}
    texts["label"] = [("negative", "positive")[number] for number in evaluated["label"]]
    shutil.rmtree(dataset / "test")
    Dataset.from_dict(texts).save_to_disk(str(dataset / "test"))
    again = evaluate(experiment, dataset, tmp_path / "trials/t/model", 12).metrics
    assert again["loss"] == pytest.approx(best.metrics["loss"], rel=1e-5)


def test_a_model_with_other_labels_than_the_data_is_measured(run, tmp_path):
    run(LR)
    experiment, model = load(tmp_path / "toy.yaml"), tmp_path / "trials/t/model"
    dataset = prepare(experiment, tmp_path)
    known = evaluate(experiment, dataset, model, 12)
    config = json.loads((model / "config.json").read_text("utf-8"))
    config |= {"id2label": {"0": "negative", "1": "glad"}, "label2id": {"negative": 0, "glad": 1}}
    (model / "config.json").write_text(json.dumps(config), "utf-8")
    found = evaluate(experiment, dataset, model, 12)
    assert found.labels == ("negative", "positive", "glad")
    right, rows = known.confusion[0][0], sum(map(sum, known.confusion))
    assert found.metrics["accuracy"] == pytest.approx(right / rows)
    assert found.confusion[1] == (known.confusion[1][0], 0, known.confusion[1][1])


def test_every_evaluation_is_written_as_metric_lines(run, capfd):
    trial = run(LR)
    pairs = list(filter(None, map(read_metric_line, capfd.readouterr().out.splitlines())))
    values = [point.metrics["accuracy"] for point in trial.curve]
    assert [v for n, v in pairs if n == "accuracy"] == [*values, trial.metrics["accuracy"]]


def test_evaluation_every_n_steps(run):
    steps = "eval_strategy: steps, eval_steps: 7"
    trial = run(LR, training=f"{{num_train_epochs: 2, per_device_train_batch_size: 8, {steps}}}")
    assert [point.training_step for point in trial.curve] == [7, 14, 21, 28, 30]


def test_a_formula_over_practical_metrics_has_a_curve(run):
    trial = run(LR, objective='{score: "accuracy - 0.001 * latency_p50_ms", goal: maximize}')
    assert all("score" in point.metrics for point in trial.curve)
    expected = trial.metrics["accuracy"] - 0.001 * trial.metrics["latency_p50_ms"]
    assert trial.metrics["score"] == pytest.approx(expected)


def test_fields_of_the_model_and_the_task_are_searched(run, tmp_path):
    space = (
        "{model.num_hidden_layers: {type: int, low: 1, high: 2}, task.max_length: "
        "{type: choice, values: [6, 12]}, task.freeze: {type: choice, values: [none, base]}}"
    )
    run(
        {"model.num_hidden_layers": "1", "task.max_length": "6", "task.freeze": "base"}, space=space
    )
    config = json.loads((tmp_path / "trials/t/model/config.json").read_text())
    assert config["num_hidden_layers"] == 1
    assert config["id2label"] == {"0": "negative", "1": "positive"}


def test_from_scratch_with_a_tokenizer_of_its_own(run, tmp_path):
    trial = run(LR, extra="from_scratch: true\nvocab_size: 60")
    assert trial.state == TrialState.SUCCEEDED
    assert json.loads((tmp_path / "trials/t/model/config.json").read_text())["vocab_size"] <= 64


def test_a_small_vision_transformer_learns_digits(run):
    task = (
        "kind: image-classification\nmodel: vit\nfrom_scratch: true\ndata: digits\n"
        "rows: {train: 300, validation: 100, test: 50}\n"
        "config: {patch_size: 4, hidden_size: 16, num_attention_heads: 2, num_hidden_layers: 1, "
        "intermediate_size: 32}\ntraining: {num_train_epochs: 3}"
    )
    trial = run({"learning_rate": "0.01"}, task=task)
    assert trial.metrics["accuracy"] > 0.2
    assert "f1_macro" in trial.metrics


def test_the_users_own_metric(run, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def share(p, y): return float((p[:, 1] > 0.5).mean())\n")
    monkeypatch.syspath_prepend(tmp_path)
    trial = run(LR, extra="metrics: {share: 'mine:share'}")
    assert 0.3 < trial.metrics["share"] < 0.7


@pytest.mark.parametrize(
    ("body", "reason"),
    [("1 / 0", "raised ZeroDivisionError"), ("float('nan')", "share is nan in evaluation 1")],
)
def test_a_metric_of_the_user_that_fails_is_named(run, tmp_path, monkeypatch, body, reason):
    module = f"bad_{abs(hash(body))}"
    (tmp_path / f"{module}.py").write_text(f"def share(p, y): return {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    trial = run(LR, extra=f"metrics: {{share: '{module}:share'}}")
    assert trial.state == TrialState.FAILED
    assert reason in (trial.reason or "")


def test_a_training_that_diverges_fails_in_words(run):
    space = "{learning_rate: {type: float, low: 1.0, high: 1.0e+30}}"
    training = "{num_train_epochs: 1, optim: sgd, max_grad_norm: 0}"
    trial = run({"learning_rate": "1e30"}, space=space, training=training)
    assert trial.state == TrialState.FAILED
    assert "nan" in (trial.reason or "") or "inf" in (trial.reason or "")


def test_a_config_that_the_model_refuses_fails_in_words(run):
    space = "{model.num_attention_heads: {type: choice, values: [2, 3]}}"
    trial = run({"model.num_attention_heads": "3"}, space=space)
    assert "the model cannot be built" in (trial.reason or "")


def test_sigterm_of_the_engine_stops_evaluates_and_writes(write_experiment, tmp_path):
    training = "{num_train_epochs: 10000, per_device_train_batch_size: 8}"
    command = make_command(write_experiment(training=training), tmp_path, LR)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = full_argv(replace(command, channel=theirs.fileno()))
        with subprocess.Popen(argv, pass_fds=[theirs.fileno()]) as process:
            ours.sendall(b"go\n" * 10_000)
            while b"evaluated" not in ours.recv(1 << 16):
                pass
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    trial = read_trial(command.output / "t")
    assert trial is not None
    assert trial.state == TrialState.STOPPED
    assert trial.curve[-1].training_step == trial.training_steps < 15 * 10000


def test_any_other_sigterm_leaves_no_result(write_experiment, tmp_path):
    """An eviction, say: the pod is made anew, and the trial runs again."""
    training = "{num_train_epochs: 10000, per_device_train_batch_size: 8}"
    command = make_command(write_experiment(training=training), tmp_path, LR)
    with subprocess.Popen(full_argv(command), stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first evaluation
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 143
    assert read_trial(command.output / "t") is None


def test_a_mark_of_katibs_collector_makes_sigterm_an_early_stop(tmp_path):
    stop = StopRequest(is_told_by_signal=False, marks=tmp_path)
    (tmp_path / f"{os.getppid()}.pid").write_text("early-stopped\n")
    signal.raise_signal(signal.SIGTERM)
    assert stop.is_asked()


def test_a_written_result_outlives_sigterm():
    stop = StopRequest(is_told_by_signal=False)
    stop.ignore()
    signal.raise_signal(signal.SIGTERM)
    assert not stop.is_asked()


def test_an_assignment_outside_the_space_is_a_wrong_start(write_experiment, tmp_path, capsys):
    command = make_command(write_experiment(), tmp_path, {"lr": "1"})
    assert main(command.argv()) == 2
    assert "lr: not in the space (learning_rate)" in capsys.readouterr().err


def test_points_survive_json():
    point = Point(1, 2, 0.5, {"f1": 0.25})
    trial = Trial("t", 0, TrialState.STOPPED, {"lr": 1e-3}, {"f1": 0.25}, curve=(point,))
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_a_trial_whose_engine_is_gone_leaves_no_result(write_experiment, tmp_path):
    command = make_command(write_experiment(), tmp_path, LR)
    engine, trial = socket.socketpair()
    engine.close()
    assert main([*command.argv(), "--channel", str(trial.detach())]) == ENGINE_GONE_EXIT
    assert list((command.output / "t").iterdir()) == []


def test_a_record_of_a_trial_whose_engine_was_gone_is_no_result(tmp_path):
    reason = "the engine that started this trial is gone"
    trial = Trial("t", 0, TrialState.FAILED, {}, reason=reason)
    (tmp_path / "result.json").write_text(json.dumps(trial.to_json()))
    assert read_trial(tmp_path) is None


def test_a_trial_keeps_to_its_own_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    (tmp_path / "system").mkdir()
    (tmp_path / "system/t").write_text("anybody may make a file of this name")
    assert run(LR).state == TrialState.SUCCEEDED
    assert {p.name for p in (tmp_path / "trials/t").iterdir()} == {"model", "result.json"}


def test_a_trial_that_never_evaluates_its_objective_fails_in_words(run):
    training = "{num_train_epochs: 1, prediction_loss_only: true}"
    trial = run(LR, training=training)
    assert trial.state == TrialState.FAILED
    assert "gives no accuracy, which the objective reads; it gives loss" in (trial.reason or "")
    assert not trial.failed_at_start


def test_a_trial_without_a_training_step_fails_in_words(run):
    training = "{num_train_epochs: 1, per_device_train_batch_size: 500, dataloader_drop_last: true}"
    trial = run(LR, training=training)
    assert "the training has no step" in (trial.reason or "")
    assert trial.failed_at_start
