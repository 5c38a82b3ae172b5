"""Trials whose training is the user's code: a Trainer of their own, or a plain script."""

import os
from textwrap import dedent

import pytest
import torch
from safetensors.torch import load_file

import hpo_pipeline
from hpo_pipeline.cli.main import main as hpo
from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.trial import TrialState, read_trial
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.own import trainer as own_trainer
from hpo_pipeline.trial.training.callback import TrialCallback

TRAINER = """
    from dataclasses import dataclass

    import numpy as np
    import torch
    import transformers
    from transformers import Trainer, TrainerCallback, TrainingArguments


    class Line(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.one = torch.nn.Linear(4, width)
            self.two = torch.nn.Linear(width, 2)
            self.dropout = torch.nn.Dropout(0.1)

        def forward(self, x, labels=None):
            logits = self.two(self.dropout(torch.relu(self.one(x))))
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}


    def rows(count, seed):
        points = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
        return [{"x": x, "labels": int(x.sum() > 0)} for x in points]


    def right(predicted):
        found = np.argmax(predicted.predictions, axis=1) == predicted.label_ids
        return {NAME: float(found.mean())}


    NAME = "hits"


    def build(context, **more):
        return more.get("kind", Trainer)(
            model=Line(int(context.parameters.get("width", 8))),
            args=more.get("args", context.arguments),
            train_dataset=rows(64, 1),
            eval_dataset=rows(32, 2),
            compute_metrics=right,
        )


    class OwnFolders(Trainer):
        # Reads checkpoints in a form of its own, as that of SentenceTransformer does.
        def _load_from_checkpoint(self, folder, model=None):
            raise ValueError("not a folder of my library")


    @dataclass
    class Eager(TrainingArguments):
        # Unless told otherwise, as SFTConfig.
        bf16: bool = True


    def subclass(context):
        return build(context, kind=OwnFolders, args=context.training_arguments(Eager))


    def size(model, folder):
        return {"layers": 2.0}


    def judge(folder, rows):
        return {"hits": 0.25}


    def text(context):
        return "a text"


    def raises(context):
        raise KeyError("what")


    def ignores(context):
        return build(context, args=TrainingArguments(output_dir=str(context.output)))


    def collides(context):
        global NAME
        NAME = "latency_p50_ms"
        return build(context)


    def reads(context):
        assert context.labels == ("negative", "positive")
        found = context.split("train")
        assert set(found.column_names) == {"input", "label"}
        return build(context)
"""
SPACE = (
    "{learning_rate: {type: float, low: 1.0e-3, high: 1.0e-1},"
    " width: {type: int, low: 4, high: 16}}"
)
VALUES = {"learning_rate": "0.05", "width": "8"}
TASK = "kind: custom\ntrainer: mine:{name}\ntraining: {{num_train_epochs: 3}}\n{more}"


@pytest.fixture
def write(write_experiment, tmp_path):
    (tmp_path / "mine.py").write_text(dedent(TRAINER), "utf-8")

    def write_file(name="build", more="", metric="hits", **sections):
        task = sections.pop("task", None) or TASK.format(name=name, more=more)
        sections.setdefault("objective", f"{{metric: {metric}, goal: maximize}}")
        sections.setdefault("space", SPACE)
        return write_experiment(task=task, **sections)

    return write_file


@pytest.fixture
def run(tmp_path):
    def run_trial(file, values=VALUES, name="t"):
        dataset = prepare(load(file), tmp_path)
        command = TrialCommand(file, dataset, tmp_path / "trials", name, 0, values)
        main(command.argv())
        trial = read_trial(command.output / name)
        assert trial is not None
        return trial

    return run_trial


def faults(file):
    _, found, sections = read(file)
    return [*found, *argument_faults(sections)]


def test_any_trainer_is_a_trial(write, run, tmp_path):
    file = write(more="measure: mine:size")
    assert faults(file) == []
    trial = run(file)
    assert trial.state is TrialState.SUCCEEDED, trial.reason
    assert trial.metrics["hits"] > 0.8
    assert len(trial.curve) == 3
    assert trial.metrics["layers"] == 2.0
    assert trial.metrics["latency_p50_ms"] > 0
    model = tmp_path / "trials/t/model"
    assert load_file(str(model / "model.safetensors"))["one.weight"].shape == (8, 4)
    assert sorted(p.name for p in model.iterdir()) == ["hpo_metrics.json", "model.safetensors"]


def test_it_is_the_same_as_the_trainer_alone(write, run, tmp_path):
    file = write()
    run(file)
    dataset = prepare(load(file), tmp_path)
    task = load(file).task.assigned({"learning_rate": 0.05, "width": 8})
    context = own_trainer.own_context(
        task, name="a", assignments={"width": 8}, seed=1, dataset=dataset, output=tmp_path / "a/b"
    )
    trainer = own_trainer.build_own(task, context, own_measure=None).trainer
    trainer.train()
    found = load_file(str(tmp_path / "trials/t/model/model.safetensors"))
    last = trainer.model.state_dict()
    assert found.keys() == last.keys()
    best_is_last = read_trial(tmp_path / "trials/t").best_step == 3
    assert all(torch.equal(found[n], last[n]) for n in found) == best_is_last


def test_the_gate_takes_the_users_measure_of_a_model_or_that_of_its_trial(write, run, tmp_path):
    trial = run(write())
    model = tmp_path / "trials/t/model"
    found = evaluate(
        load(tmp_path / "toy.yaml"), prepare(load(tmp_path / "toy.yaml"), tmp_path), model, 8
    )
    assert found.metrics == trial.metrics
    other = load(write(more="evaluate: mine:judge"))
    assert evaluate(other, prepare(other, tmp_path), model, 8).metrics["hits"] == 0.25


def test_prepared_rows_are_handed_over_as_they_are(write, run, sentences):
    more = f"data: {sentences}\nrows: {{train: 40, validation: 20, test: 20}}"
    trial = run(write("reads", more))
    assert trial.state is TrialState.SUCCEEDED, trial.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text", "mine:text must return a transformers.Trainer, got builtins.str"),
        ("raises", "mine:raises raised KeyError: 'what'"),
        ("ignores", "mine:ignores ignores what the trial asks for: learning_rate is 5e-05 and not"),
        ("collides", "gives latency_p50_ms, which every trial measures by itself"),
    ],
)
def test_a_function_that_does_something_else_is_named(write, run, name, reason):
    trial = run(write(name))
    assert trial.state is TrialState.FAILED
    assert reason in (trial.reason or "")


def test_a_metric_that_the_trainer_does_not_give_is_named(write, run):
    trial = run(write(metric="accuracy"))
    assert "gives no accuracy, which the objective reads; it gives hits, loss" in trial.reason


def test_several_gpus_in_one_trial_are_refused(write, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "sees 2 GPUs, and takes exactly one" in run(write()).reason


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("{kind: custom}", "needs trainer: module:function, which returns a Trainer, or script"),
        ("kind: custom\ntrainer: nowhere:build", "there is no module nowhere"),
        ("kind: custom\ntrainer: mine:absent", "mine.py has no function absent"),
        ("kind: custom\nscript: absent.py", "there is no file"),
        ("kind: custom\ntrainer: mine:build\nmetrics: {a: 'm:a'}", "custom computes its own"),
    ],
)
def test_check_finds_code_that_is_not_there(write, task, fault):
    assert any(fault in line for line in faults(write(task=task))), faults(write(task=task))


def test_smoke_trains_two_steps_and_lists_the_metrics(write, capsys):
    assert hpo(["check", str(write()), "--smoke"]) == 0
    assert "two training steps on a few rows: metrics hits, loss" in capsys.readouterr().out
    assert hpo(["check", str(write(metric="hit")), "--smoke"]) == 2
    assert "no trial reports hit" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["build", "subclass"])
def test_an_own_trainer_resumes_to_the_last_digit(write, run, tmp_path, monkeypatch, name):
    whole, ends = TrialCallback.on_step_end, [11]

    class CutOff(BaseException):
        pass

    def end(self, args, state, control, **kwargs):
        if [state.global_step] == ends:
            ends.clear()
            raise CutOff
        whole(self, args, state, control, **kwargs)

    file = write(name, more="checkpoint: {every: 5}")
    run(file, name="whole")
    monkeypatch.setattr(TrialCallback, "on_step_end", end)
    with pytest.raises(CutOff):
        run(file, name="broken")
    assert [p.name for p in (tmp_path / "trials/broken/resume").iterdir()] == ["step-10"]
    run(file, name="broken")
    found, other = (
        load_file(str(tmp_path / f"trials/{name}/model/model.safetensors"))
        for name in ("whole", "broken")
    )
    assert all(torch.equal(found[name], other[name]) for name in found)


SCRIPT = """
    from pathlib import Path

    import torch
    from safetensors.torch import save_file

    import hpo_pipeline

    values = hpo_pipeline.assignments()
    print("accuracy=9")
    for step in range(1, 6):
        weight = torch.tensor([values["learning_rate"] * step])
        if not hpo_pipeline.report(step=step, accuracy=1 - abs(weight.item() - 0.15)):
            break
        if hpo_pipeline.is_best():
            save_file({"w": weight}, str(hpo_pipeline.trial_folder() / "model.safetensors"))
"""


@pytest.fixture
def script(write, tmp_path):
    def write_script(text=SCRIPT):
        (tmp_path / "loop.py").write_text(dedent(text), "utf-8")
        return write(task="kind: custom\nscript: loop.py", metric="accuracy")

    return write_script


def test_a_plain_loop_is_a_trial(script, run, tmp_path, capfd):
    file = script()
    assert faults(file) == []
    trial = run(file)
    assert (trial.state, trial.best_step, trial.training_steps) == (TrialState.SUCCEEDED, 3, 5)
    assert trial.metrics["accuracy"] == pytest.approx(1.0)
    weights = load_file(str(tmp_path / "trials/t/model/model.safetensors"))
    assert weights["w"].item() == pytest.approx(0.15)
    assert trial.metrics["model_size_mb"] > 0
    assert "accuracy=9" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1", "loop.py ended without a call of hpo_pipeline.report"),
        ("raise SystemExit(3)", "loop.py exited with 3"),
        ("1 / 0", "loop.py raised ZeroDivisionError"),
        ("import hpo_pipeline as h\nh.report(step=1, accuracy='x')", "accuracy must be a number"),
        ("import hpo_pipeline as h\nh.report(step=1, f1=1)", "gives no accuracy"),
        ("import hpo_pipeline as h\nh.report(step=1, accuracy=1)", "saved nothing into"),
    ],
)
def test_a_script_that_fails_is_named(script, run, text, reason):
    trial = run(script(text))
    assert trial.state is TrialState.FAILED
    assert reason in trial.reason


def test_a_script_runs_by_itself_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert hpo_pipeline.assignments() == {}
    assert hpo_pipeline.seed(7) == 7
    assert hpo_pipeline.report(step=1, accuracy=0.5)
    assert "step 1: accuracy 0.5" in capsys.readouterr().err
    assert os.path.isdir(hpo_pipeline.trial_folder())


def test_a_custom_task_needs_neither_model_nor_data_and_others_do(write):
    assert load(write()).task.model == ""
    with pytest.raises(ExperimentError, match=r"task\.data: is required"):
        load(write(task="kind: text-classification\nmodel: minilm"))
