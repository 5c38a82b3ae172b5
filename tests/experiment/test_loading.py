"""The experiment file: each bad input is a fault with its path, and all come at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.experiment.schema import Experiment

LR = "learning_rate: {type: float, low: 1e-5, high: 1e-1, log: true}"
MIN = "kind: text-classification, model: m, data: d"


@pytest.fixture
def write(tmp_path: Path):
    """Return a function that writes an experiment file; None leaves a section out."""

    def write(**sections: str | None) -> Path:
        content = {
            "name": "toy",
            "task": f"{{{MIN}}}",
            "objective": "{metric: accuracy, goal: maximize}",
            "space": f"{{{LR}}}",
            "budget": "{trials: 3}",
            **sections,
        }
        path = tmp_path / "toy.yaml"
        path.write_text("".join(f"{k}: {v}\n" for k, v in content.items() if v is not None))
        return path

    return write


def faults(path: Path) -> list[str]:
    with pytest.raises(ExperimentError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    return list(caught.value.faults)


def test_a_small_file_is_enough(write) -> None:
    experiment = load(write())
    assert experiment.search.algorithm == experiment.stopping.algorithm == "auto"
    assert experiment.task.max_length == 128


@pytest.mark.parametrize(
    ("sections", "path", "said"),
    [
        # unknown keys
        ({"bugdet": "{trials: 3}"}, "bugdet", "unknown key; allowed are name, task, objective"),
        ({"task": f"{{{MIN}, modle: x}}"}, "task.modle", "unknown key; allowed are kind, model"),
        ({"task": f"{{{MIN}, rows: {{dev: 3}}}}"}, "task.rows.dev", "allowed are train, valid"),
        ({"space": "{x: {type: int, low: 1, hi: 2}}"}, "space.x.hi", "type, low, high, log, step"),
        ({"objective": "{metric: f1, gaol: x}"}, "objective.gaol", "allowed are metric, score"),
        ({"objective": "[{metrics: f1}]"}, "objective.0.metrics", "allowed are metric, score"),
        ({"register": "{model: x, gate: 1}"}, "register.gate", "allowed are model, registry"),
        # missing keys
        ({"budget": None}, "budget", "is required"),
        ({"task": "{kind: text-classification, model: m}"}, "task.data", "is required"),
        ({"space": "{x: {low: 1, high: 2}}"}, "space.x", "type is required: float, int or choice"),
        # wrong types
        ({"budget": "3"}, "budget", "must be a mapping such as {trials: 20}, got 3"),
        ({"budget": "{trials: many}"}, "budget.trials", "valid integer, .*got 'many'"),
        ({"budget": "{trials: '3'}"}, "budget.trials", "valid integer, got '3'"),
        ({"budget": "{trials: true}"}, "budget.trials", "valid integer, got True"),
        ({"budget": "{trials: 2.0}"}, "budget.trials", "valid integer, got 2.0"),
        ({"budget": "{trials: 3, minutes: .inf}"}, "budget.minutes", "finite number, got inf"),
        ({"constraints": "f1 > 0"}, "constraints", "must be a list, got 'f1 > 0'"),
        ({"space": "3"}, "space", "must be a mapping, got 3"),
        ({"space": "{x: 3}"}, "space.x", "must be a mapping, got 3"),
        ({"objective": "accuracy"}, "objective", "must be a mapping, got 'accuracy'"),
        ({"task": f"{{{MIN}, from_scratch: yes}}"}, "task.from_scratch", "boolean, got 'yes'"),
        ({"task": f"{{{MIN}, config: {{a: .nan}}}}"}, "task", "config: must be plain, finite"),
        ({"task": f"{{{MIN}, config: {{a: .nan}}}}"}, "task", "config: must be plain"),
        ({"search": "{start: [{learning_rate: [1]}]}"}, "search.start.0.learning_rate", "got .1."),
        # values
        ({"name": "No Name"}, "name", "1 to 40 of a-z, 0-9 and -, .*got 'No Name'"),
        ({"task": f"{{{MIN}, max_length: 2}}"}, "task.max_length", "greater than .*4, got 2"),
        ({"task": "{kind: poetry, model: m, data: d}"}, "task.kind", "'text-class.*got 'poetry'"),
        ({"task": f"{{{MIN}, rows: {{test: 1.5}}}}"}, "task.rows.test", "a share below 1, got 1.5"),
        ({"task": f"{{{MIN}, rows: {{test: 0}}}}"}, "task.rows.test", "rows from 1, .*got 0"),
        ({"task": f"{{{MIN}, rows: {{test: '1'}}}}"}, "task.rows.test", "got '1'"),
        ({"task": f"{{{MIN}, vocab_size: 99}}"}, "task", "vocab_size .*needs from_scratch: true"),
        (
            {"task": f"{{{MIN}, metrics: {{a: b}}}}"},
            "task",
            "metrics.a: .*module:function, got 'b'",
        ),
        ({"budget": "{trials: 0}"}, "budget.trials", "greater than or equal to 1, got 0"),
        ({"search": "{algorithm: luck}"}, "search.algorithm", "'katib', got 'luck'"),
        (
            {"search": "{algorithm: tpe, settings: {x: 1}}"},
            "search.settings.x",
            "unknown key; allowed are startup_trials, cand",
        ),
        (
            {"search": "{algorithm: tpe, settings: {candidates: 0}}"},
            "search.settings.candidates",
            "greater than or equal to 1, got 0",
        ),
        ({"register": "{model: A/B}"}, "register.model", "must be 1 to 63 .*got 'A/B'"),
        # the space
        ({"space": "{}"}, "space", "at least one parameter is needed"),
        ({"space": "{x: {type: float, low: 2, high: 1}}"}, "space.x", "got low=2.0, high=1.0"),
        ({"space": "{x: {type: int, low: 1, high: 1}}"}, "space.x", "low must be below high"),
        ({"space": "{x: {type: int, low: 0, high: 9, log: true}}"}, "space.x", "log .*got low=0"),
        ({"space": "{x: {type: choice, values: []}}"}, "space.x.values", "1 entry, got .."),
        ({"space": "{x: {type: choice, values: [[], a]}}"}, "space.x.values.0", "number or text"),
        ({"space": "{x: {type: real}}"}, "space.x.type", "must be one of 'float', .*got 'real'"),
        ({"space": "{a-b: {type: int, low: 1, high: 2}}"}, "space", "a name is .*got 'a-b'"),
        ({"space": "{task.kind: {type: choice, values: [a]}}"}, "space.task.kind", "only freeze"),
        (
            {"space": "{task.max_length: {type: int, low: 1, high: 9}}"},
            "space.task.max_length",
            "greater than or equal to 4, got 1",
        ),
        (
            {"space": "{task.freeze: {type: choice, values: [all, none]}}"},
            "space.task.freeze",
            "'none', 'embeddings' or 'base', got 'all'",
        ),
        (
            {"task": f"{{{MIN}, training: {{learning_rate: 0.1}}}}"},
            "space.learning_rate",
            "is fixed in task.training as well",
        ),
        # objectives and constraints
        ({"objective": "{goal: maximize}"}, "objective", "either metric: NAME or score: FORMULA"),
        ({"objective": "[]"}, "objective", "must have at least 1 entry, got .."),
        ({"objective": "{metric: bleu, goal: maximize}"}, "objective.metric", "no metric 'bleu'"),
        ({"objective": "{score: 1 + bleu, goal: maximize}"}, "objective.score", "are loss, accu"),
        ({"objective": "{score: f(f1), goal: maximize}"}, "objective.score", "got 'f.f1.'"),
        ({"objective": "{score: 'f1 +', goal: maximize}"}, "objective.score", "not a formula"),
        ({"constraints": "[f1 > 0.5, accuracy]"}, "constraints.1", "one comparison .*'accuracy'"),
        ({"constraints": "[bleu > 0.5]"}, "constraints.0", "no metric 'bleu'"),
        ({"constraints": "[score > 0.5]"}, "constraints.0", "no metric 'score'"),
        ({"task": f"{{{MIN}, metrics: {{f1: a:b}}}}"}, "task.metrics.f1", "built-in metric"),
        (
            {"objective": "[{metric: f1, goal: maximize}, {metric: f1, goal: minimize}]"},
            "objective",
            "each metric at most once, got f1, f1",
        ),
        # sections that do not fit together
        ({"search": "{algorithm: grid}"}, "search.algorithm", "cannot enumerate space.learning_r"),
        (
            {
                "search": "{algorithm: grid}",
                "space": "{x: {type: int, low: 1, high: 999}, y: {type: int, low: 1, high: 999}}",
            },
            "search.algorithm",
            "998,001 points, at most 100,000",
        ),
        ({"search": "{start: [{}]}"}, "search.start.0", "learning_rate is missing"),
        (
            {"search": "{start: [{learning_rate: 5}]}"},
            "search.start.0.learning_rate",
            "must be a number from 1e-05 to 0.1",
        ),
        (
            {"search": "{start: [{learning_rate: 1e-3, x: 1}]}"},
            "search.start.0.x",
            r"not in the space \(learning_rate\)",
        ),
        (
            {
                "objective": "[{metric: f1, goal: maximize}, {metric: loss, goal: minimize}]",
                "stopping": "{algorithm: patience}",
            },
            "stopping.algorithm",
            "patience needs the values of one objective, and there are 2",
        ),
        (
            {
                "objective": "[{metric: f1, goal: maximize}, {metric: loss, goal: minimize}]",
                "budget": "{trials: 3, target: 0.9}",
            },
            "budget.target",
            "needs one objective",
        ),
    ],
)
def test_a_fault_has_its_path_and_what_is_allowed(write, sections, path, said) -> None:
    import re

    found = faults(write(**sections))
    pattern = re.compile(rf"{re.escape(path)}: .*{said}")
    assert any(pattern.match(fault) for fault in found), found


def test_all_faults_come_at_once_each_said_once(write) -> None:
    found = faults(
        write(
            task=f"{{{MIN}, rows: {{train: -1}}, colums: {{}}}}",
            space="{x: {type: int, low: 3, high: 1}, y: {type: choice, values: [null]}}",
            objective="{metric: bleu, gaol: maximize}",
            constraints="[f1]",
            search="{algorithm: luck}",
            budget=None,
        )
    )
    assert [fault.split(": ")[0] for fault in found] == [
        *("task.rows.train", "task.colums", "objective.goal", "objective.gaol", "constraints.0"),
        *("space.x", "space.y.values.0", "search.algorithm", "budget"),
    ]


def test_faults_between_sound_sections_come_with_the_faults_of_the_others(write) -> None:
    found = faults(write(objective="{metric: bleu, goal: maximize}", budget="{trials: 0}"))
    assert [fault.split(": ")[0] for fault in found] == ["budget.trials", "objective.metric"]


def test_the_message_names_the_file_and_counts_the_faults(write) -> None:
    path = write(budget="{trials: 0}", name="X")
    with pytest.raises(ExperimentError, match=rf"^{path}: 2 faults\n  - name: .*\n  - budget"):
        load(path)


def test_read_returns_the_sound_sections_of_a_faulty_file(write) -> None:
    experiment, found, sections = read(write(budget="{trials: 0}"))
    assert experiment is None
    assert len(found) == 1
    assert sections["task"].kind == "text-classification"
    assert "budget" not in sections


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"objective": "[{score: accuracy - loss, goal: maximize}, {metric: loss, goal: minimize}]"},
        {"task": f"{{{MIN}, rows: {{train: 0.5, test: 10}}, training: {{warmup_steps: 1}}}}"},
        {"space": f"{{{LR}, x: {{type: choice, values: [3, 2.5, true, a/b]}}}}"},
        {"register": "{model: toy, min_gain: 1e-3}", "constraints": "[f1 >= 0.5]"},
        {"search": "{start: [{learning_rate: 1e-3}, {learning_rate: 5e-5}]}"},
        {"budget": "{trials: 3, minutes: 2, target: 1}"},
    ],
)
def test_json_is_read_back_to_an_equal_experiment(write, tmp_path: Path, sections) -> None:
    experiment = load(write(**sections))
    again = tmp_path / "experiment.json"
    again.write_text(experiment.to_json())
    assert load(again) == experiment
    assert load(again).to_json() == experiment.to_json()
    assert load(again).identity() == experiment.identity()


def test_paths_are_relative_to_the_file_and_names_stay_names(write, tmp_path: Path) -> None:
    (tmp_path / "models" / "bert").mkdir(parents=True)
    task = "{kind: text-classification, model: models/bert, data: reviews.csv}"
    assert load(write(task=task)).task.model == str(tmp_path / "models/bert")
    assert load(write(task=task)).task.data == str(tmp_path / "reviews.csv")
    task = "{kind: text-classification, model: google/bert, data: 's3://bucket/reviews.csv'}"
    assert load(write(task=task)).task.model == "google/bert"
    assert load(write(task=task)).task.data == "s3://bucket/reviews.csv"


def test_what_is_beside_the_file_is_a_path_and_what_is_elsewhere_is_not(
    write, monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "reviews").mkdir()
    (tmp_path / "bert").mkdir()  # a folder without a model: `bert` stays a type of model
    (tmp_path / "elsewhere" / "tickets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    task = "{kind: text-classification, model: bert, data: reviews}"
    assert load(write(task=task)).task.data == str(tmp_path / "reviews")
    assert load(write(task=task)).task.model == "bert"
    (tmp_path / "bert" / "config.json").write_text("{}")
    assert load(write(task=task)).task.model == str(tmp_path / "bert")
    task = "{kind: text-classification, model: bert, data: tickets}"
    assert load(write(task=task)).task.data == "tickets"


@pytest.mark.parametrize("name", ["DATA.CSV", "data.csv.gz", "data.tsv"])
def test_names_of_data_files_are_paths_even_where_there_are_none(
    write, tmp_path: Path, name: str
) -> None:
    task = f"{{kind: text-classification, model: m, data: {name}}}"
    assert load(write(task=task)).task.data == str(tmp_path / name)


def test_a_tilde_is_the_home_folder(write, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    task = "{kind: text-classification, model: ../m, data: ~/reviews.csv}"
    assert load(write(task=task)).task.data == str(tmp_path / "me/reviews.csv")
    assert load(write(task=task)).task.model == str(tmp_path.parent / "m")


def test_the_command_line_overrides_the_budget_and_is_checked_too(write) -> None:
    path = write(budget="{trials: 3, keep: 2}")
    assert load(path, budget={"trials": 9, "parallel": 2}).budget.trials == 9
    assert load(path, budget={"trials": 9}).budget.keep == 2
    with pytest.raises(ExperimentError, match=r"budget\.trials: .*got 0"):
        load(path, budget={"trials": 0})


def test_the_identity_ignores_what_does_not_change_a_trial(write) -> None:
    plain = load(write()).identity()
    extras = {"budget": "{trials: 99}", "local": "{threads: 1}", "register": "{model: toy}"}
    assert load(write(**extras)).identity() == plain
    for section in ({"search": "{seed: 1}"}, {"task": f"{{{MIN}, max_length: 64}}"}):
        assert load(write(**section)).identity() != plain


def test_the_longest_input_of_any_trial_is_known(write) -> None:
    space = "{task.max_length: {type: choice, values: [32, 256, 64]}}"
    assert load(write(space=space)).max_length() == 256
    assert load(write()).max_length() == 128


def test_the_experiments_of_this_repository_have_no_faults() -> None:
    files = sorted((Path(__file__).parents[2] / "experiments").rglob("*.yaml"))
    assert files
    for file in files:
        assert load(file).name == file.stem


def test_the_json_schema_covers_the_sections_of_the_file() -> None:
    schema = json.loads(json.dumps(Experiment.model_json_schema(by_alias=True)))
    assert {"name", "task", "space", "register", "budget"} <= set(schema["properties"])
    assert yaml.safe_dump(schema)


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"search": "{algorithm: cmaes}"}, "search.algorithm: cmaes needs at least 2 parameters"),
        ({"search": "{algorithm: nsga2}"}, "search.algorithm: nsga2 needs several objectives"),
        (
            {"search": "{algorithm: qmc}", "space": "{optim: {type: choice, values: [a, b]}}"},
            "search.algorithm: qmc needs a parameter that is a number",
        ),
        (
            {"search": "{algorithm: random, warm_start: [runs/old]}"},
            "search.warm_start: random learns nothing from it; auto, tpe and gp do",
        ),
        ({"stopping": "{algorithm: threshold}"}, "stopping: threshold needs lower, upper or both"),
        (
            {"stopping": "{algorithm: threshold, lower: 2.0, upper: 1.0}"},
            "stopping.lower: must be below upper, got 2 and 1",
        ),
        (
            {"stopping": "{algorithm: asha, grace_period: 4, max_resource: 2}"},
            "stopping.max_resource: must be at least grace_period, got 2 and 4",
        ),
        (
            {"stopping": "{algorithm: asha, percentile: 5}"},
            "stopping.percentile: unknown key; allowed are algorithm, resource, grace_period",
        ),
        ({"stopping": "{algorithm: luck}"}, "stopping.algorithm: must be one of 'none', 'median'"),
    ],
)
def test_a_strategy_that_cannot_serve_is_refused(write, sections, fault) -> None:
    found = faults(write(**sections))
    assert any(line.startswith(fault) for line in found), found


def test_the_models_that_a_space_chooses_from_are_found_beside_the_file(
    write_experiment, tmp_path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("{}")
    choice = "{task.model: {type: choice, values: [mine, ./other, org/name]}}"
    task = "{kind: text-classification, data: some/data}"
    experiment = load(write_experiment(task=task, space=choice))
    models = [str(tmp_path / "mine"), str(tmp_path / "other"), "org/name"]
    assert list(experiment.space["task.model"].values) == models
    assert experiment.task.model == models[0]
    assert experiment.task.assigned({"task.model": "org/name"}).model == "org/name"


def test_a_task_names_its_model_and_its_data(write_experiment) -> None:
    found = faults(write_experiment(task="{kind: text-classification}"))
    assert found == ["task.model: is required", "task.data: is required"]
