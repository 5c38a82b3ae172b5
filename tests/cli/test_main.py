"""The command line as a person uses it: real processes, exit codes, and what is printed."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.results.run_folder import RunFolder
from tests import nursery

LONG = "{num_train_epochs: 100000, per_device_train_batch_size: 8}"


def hpo(*arguments, cwd=None) -> subprocess.CompletedProcess[str]:
    command = nursery.command(*arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_bert, sentences) -> Path:
    """A folder in which one small experiment was run, with its registry."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toy.yaml").write_text(
        f"""
name: toy
task:
  kind: text-classification
  model: {tiny_bert}
  data: {sentences}
  max_length: 12
  rows: {{train: 120, validation: 40, test: 60}}
  training: {{num_train_epochs: 8, per_device_train_batch_size: 8}}
objective: {{score: "accuracy - 0.0001 * latency_p95_ms", goal: maximize}}
constraints: ["model_size_mb <= 1", "cost_per_million <= 9"]
prices: {{cpu_hour: 0.04, currency: USD}}
space:
  learning_rate: {{type: float, low: 1.0e-5, high: 5.0e-2, log: true}}
  model.num_hidden_layers: {{type: int, low: 1, high: 2}}
search:
  start:
    - {{learning_rate: 0.01, model.num_hidden_layers: 1}}
    - {{learning_rate: 0.02, model.num_hidden_layers: 2}}
budget: {{trials: 4, parallel: 2}}
register: {{model: toy}}
"""
    )
    environment = {**os.environ, "HPO_CACHE": str(folder / "cache"), "HPO_REGISTRY": "models"}
    command = nursery.command("run", "toy.yaml")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder


def test_a_run_prints_its_progress_and_its_winner(finished):
    printed = (finished / "printed.txt").read_text()
    assert "toy succeeded" in printed
    assert re.search(r"winner +toy-000\d: .*learning_rate=", printed)
    assert "the baseline is lr=5e-05 layers=2" in printed
    assert re.search(r"toy-0000( ★)? \(baseline\)", printed)
    line = r"Tuning gained 0\.\d+ score over the baseline on 60 test rows \(.*95 % interval \+0\."
    assert re.search(line, printed)
    assert re.search(r"at the cost of 3 more trials, .* and measuring, 0\.\d+ USD", printed)
    assert "registered as toy version 1: champion: the first one" in printed


def test_status_for_machines(finished):
    status = json.loads(hpo("status", "--json", cwd=finished).stdout)
    assert status["state"] == "succeeded"
    assert sum(status["trials"].values()) == 4
    assert status["baseline"] == "toy-0000"
    assert 0 < status["winner"]["test"]["cost_per_million"] < 1
    assert status["winner"]["test_intervals"]["cost_per_million"][0] > 0
    assert 0 < status["gain"]["low"] < status["gain"]["gain"] < status["gain"]["high"] < 1
    assert status["winner"]["test"]["accuracy"] > 0.9
    assert set(status["winner"]["assignments"]) == {"learning_rate", "model.num_hidden_layers"}


def test_the_model_folder_loads_as_a_pipeline_with_label_names(finished):
    from transformers import pipeline

    classify = pipeline("text-classification", str(finished / "runs/toy/model"))
    assert classify("a great lovely superb film")[0]["label"] == "positive"
    assert classify("awful nasty sad book")[0]["label"] == "negative"


def test_only_the_best_trial_keeps_its_model(finished):
    assert len(list((finished / "runs/toy/trials").glob("*/model"))) == 1


def test_show_prints_a_trial(finished):
    printed = hpo("show", "1", cwd=finished).stdout
    assert "toy-0001: succeeded" in printed
    assert "learning_rate" in printed
    assert "evaluation" in printed


def test_show_says_which_trials_there_are(finished):
    done = hpo("show", "77", cwd=finished)
    assert done.returncode == 2
    assert "has no trial '77'; its trials are toy-0000 to toy-0003" in done.stderr


def test_models_and_their_versions(finished):
    assert "toy" in hpo("models", "--registry", "models", cwd=finished).stdout
    shown = hpo("models", "--registry", "models", "show", "toy", cwd=finished).stdout
    assert "champion" in shown
    history = hpo("models", "--registry", "models", "history", "toy", cwd=finished).stdout
    assert "registered" in history
    assert "promoted" in history


def test_a_rollback_without_a_past_is_refused(finished):
    done = hpo("models", "--registry", "models", "rollback", "toy", cwd=finished)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_report_is_one_file(finished):
    page = (finished / "runs/toy/report.html").read_text("utf-8")
    assert "<title>toy: succeeded</title>" in page
    assert "<strong>Tuning gained 0." in page
    assert "The baseline is toy-0000." in page
    assert len(page) > 1_000_000


def test_running_a_finished_experiment_again_changes_nothing(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    before = RunFolder(folder / "runs/toy").result()
    done = hpo("run", "toy.yaml", "--registry", "models", cwd=folder)
    after = RunFolder(folder / "runs/toy").result()
    assert done.returncode == 0, done.stderr
    assert after.trials == before.trials
    assert after.winner.test == before.winner.test
    assert "toy version 1" in done.stdout


def test_the_folder_of_another_experiment_is_refused(finished, tmp_path):
    text = (finished / "toy.yaml").read_text().replace("low: 1.0e-5", "low: 1.0e-4")
    (tmp_path / "toy.yaml").write_text(text)
    done = hpo("run", tmp_path / "toy.yaml", "--run", finished / "runs/toy")
    assert done.returncode == 2
    assert "holds the run of another experiment" in done.stderr


def test_a_folder_of_something_else_is_refused(write_experiment, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    done = hpo("run", write_experiment(), "--run", tmp_path / "home")
    assert done.returncode == 2
    assert "is not empty and not a run folder" in done.stderr


def test_a_folder_that_cannot_be_written_is_refused(write_experiment):
    done = hpo("run", write_experiment(), "--run", "/proc/run")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_check_finds_the_faults_of_both_halves_at_once(write_experiment, capsys):
    file = write_experiment(
        training="{num_train_epoch: 3}",
        space="{learning_rat: {type: float, low: 2.0, high: 1.0}}",
        objective="{metric: f9, goal: maximize}",
    )
    assert main(["check", str(file)]) == 2
    told = capsys.readouterr().err
    for part in (
        "space.learning_rat: low must be below high",
        "no metric 'f9'",
        "task.training.num_train_epoch: no field",
        "did you mean num_train_epochs",
    ):
        assert part in told


def test_check_says_that_a_file_is_right(write_experiment):
    done = hpo("check", write_experiment())
    assert (done.returncode, done.stderr) == (0, "")
    assert "no faults" in done.stdout


def test_check_says_what_can_have_no_effect_and_which_registry_cannot_be(write_experiment, capsys):
    stopping = "{algorithm: median, min_trials: 50}"
    assert main(["check", str(write_experiment(stopping=stopping))]) == 0
    told = capsys.readouterr().out
    assert "note: stopping.min_trials: median stops no trial before 50" in told
    file = write_experiment(register="{model: m, registry: 'mlflw://host:5000'}")
    assert main(["check", str(file)]) == 2
    told = capsys.readouterr().err
    assert "register.registry: " in told
    assert "mlflw" in told


def test_a_fault_that_only_transformers_sees_ends_a_run_before_its_first_trial(
    write_experiment, tmp_path
):
    file = write_experiment(space="{learning_rte: {type: float, low: 0.1, high: 0.2}}")
    done = hpo("run", file, "--run", tmp_path / "run")
    assert done.returncode == 2
    assert f"{file}: 1 fault" in done.stderr
    assert list((tmp_path / "run/trials").iterdir()) == []


def test_two_runs_in_one_folder_at_once_are_refused(write_experiment, tmp_path):
    file = write_experiment(training=LONG)
    with running(file, tmp_path / "run") as first:
        done = hpo("run", file, "--run", tmp_path / "run")
        first.send_signal(signal.SIGINT)
    assert done.returncode == 2
    assert f"is in use by process {first.pid}" in done.stderr


def test_ctrl_c_ends_in_order_and_the_same_command_goes_on(write_experiment, tmp_path):
    file = write_experiment(training=LONG, budget="{trials: 2, parallel: 1, minutes: 0.2}")
    with running(file, tmp_path / "run") as process:
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
    assert process.returncode == 130
    assert "Run the same command to resume" in printed
    assert RunFolder(tmp_path / "run").result().state == "interrupted"
    done = hpo("run", file, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "resumed: 0 trials finished earlier, 1 rerun" in done.stdout


def running(file, folder):
    """Start a run and wait until its first trial trains."""
    process = subprocess.Popen(
        nursery.killable("run", file, "--run", folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timeline = folder / "timeline.jsonl"
    while not (timeline.exists() and "training" in timeline.read_text()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    return process


def test_a_search_without_a_usable_trial_fails_with_the_reasons(write_experiment, tmp_path):
    file = write_experiment(
        extra="from_scratch: false\nmetrics: {own: 'mine:score'}", budget="{trials: 2, parallel: 2}"
    )
    file.with_name("mine.py").write_text("def score(*given):\n    raise ValueError('no luck')\n")
    done = hpo("run", file, "--run", tmp_path / "run")
    assert done.returncode == 1
    assert "no luck" in done.stdout
    assert "The other trials will probably fail alike" in done.stdout


def test_assets_are_listed():
    printed = hpo("assets").stdout
    assert all(name in printed for name in ("minilm", "tweets", "movie", "amazon", "digits"))


@pytest.mark.parametrize("action", ["fetch", "verify"])
def test_an_asset_that_is_built_in_needs_nothing(action):
    """An image build fetches each of ASSETS, which may name those that are built in."""
    done = hpo("assets", action, "digits")
    assert done.returncode == 0
    assert done.stdout == f"digits: built in, there is nothing to {action}\n"


def test_an_unknown_asset_is_an_error():
    done = hpo("assets", "fetch", "nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_predict_with_a_registered_model(finished):
    rows = "id,remark\n1,a great lovely superb film\n2,awful nasty sad book\n"
    (finished / "new.csv").write_text(rows)
    done = hpo("predict", "toy@1", "new.csv", "--csv", "--registry", "models", cwd=finished)
    header, *found = done.stdout.splitlines()
    assert header == "input,label,score"
    assert [line.split(",")[1] for line in found] == ["positive", "negative"], done.stderr


@pytest.mark.parametrize("named", ["toy", "toy@1", "toy@champion", "runs/toy", "runs/toy/model"])
def test_a_model_is_named_in_many_ways(finished, named, monkeypatch, tmp_path):
    from hpo_pipeline.registry.lookup import model_folder

    monkeypatch.chdir(finished)
    assert (model_folder(named, tmp_path, "models") / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none", "--text", "a"], 1, "no registered model; there are toy"),
        (["toy@9", "--text", "a"], 1, "version must be one of"),
        (["No Name", "--text", "a"], 2, "is no folder, and no name of a registered model"),
        (["runs", "--text", "a"], 2, "name a folder of transformers, or a run folder"),
        (["toy", "none.csv"], 2, "there is no such file; --text takes a text itself"),
        (["toy", "toy.csv", "--text", "a"], 2, "give either a file or --text"),
    ],
)
def test_predict_says_what_to_do(finished, arguments, code, message, monkeypatch, capsys):
    monkeypatch.chdir(finished)
    assert main(["predict", *arguments, "--registry", "models"]) == code
    assert message in capsys.readouterr().err
