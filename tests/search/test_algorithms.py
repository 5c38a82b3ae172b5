"""A search algorithm is one file and one row: a toy one, added to a copy of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.algorithms import ALGORITHMS, markdown_table, section_of, served
from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Count, Frozen
from hpo_pipeline.search.study import Study
from tests.toys import toy_experiment, toy_trial

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class HopSettings(Frozen):
    """How many values the toy hops over."""

    hops: Count = 1


class HopSearch(AnySearch):
    """A toy that draws as random does, from other seeds."""

    objectives = "one"
    needs_numbers = 2
    learns_from_earlier = True

    algorithm: Literal["hop"]
    settings: HopSettings = HopSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return a sampler of a seed further on."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=self.seed_of(number + self.settings.hops))


TABLE = {**ALGORITHMS, "hop": HopSearch}

if TYPE_CHECKING:
    HopExperiment = Experiment
else:

    class HopExperiment(Experiment):
        """An experiment that may name the toy."""

        search: section_of(TABLE)


FILE = """\
name: toy
task: {{kind: text-classification, model: some/model, data: some/data}}
objective: {{metric: accuracy, goal: maximize}}
space:
  learning_rate: {{type: float, low: 1.0e-5, high: 1.0e-1, log: true}}
{more}search: {{algorithm: hop, settings: {{hops: {hops}}}}}
baseline: none
budget: {{trials: 5}}
"""
MORE = "  weight_decay: {type: float, low: 0.0, high: 0.3}\n"


def written(folder: Path, *, hops: object = 2, more: str = MORE) -> Path:
    file = folder / "toy.yaml"
    file.write_text(FILE.format(hops=hops, more=more), "utf-8")
    return file


def test_a_new_row_is_read_from_a_file_and_searches(tmp_path: Path) -> None:
    made = load(written(tmp_path), HopExperiment)
    study, found = Study(made.problem), []
    for number in range(5):
        found.append(study.ask().assignments)
        study.tell(toy_trial(number, accuracy=0.5))
    assert all(made.space[n].contains(v) for point in found for n, v in point.items())
    random = toy_experiment(space=made.model_dump()["space"], search={"algorithm": "random"})
    ahead = Study(random.problem)
    assert [ahead.ask().assignments for _ in range(5)][2:] == found[:3]


def test_checks_and_messages_follow_from_the_traits(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="hop needs at least 2 parameters that are numbers"):
        load(written(tmp_path, more=""), HopExperiment)
    with pytest.raises(ExperimentError, match=r"search\.settings\.hops: .* got 0"):
        load(written(tmp_path, hops=0), HopExperiment)
    with pytest.raises(ExperimentError, match=r"must be one of .*'tpe'.* got 'hop'"):
        load(written(tmp_path))


def test_katib_and_the_docs_follow_from_the_table() -> None:
    assert served(TABLE)["hop"] == "suggestion"
    assert served()["gp"] == "suggestion-gp"
    assert "katib" not in served()
    rows: Any = {line.split("`")[1]: line for line in markdown_table(TABLE).splitlines()[2:]}
    assert rows["hop"].endswith("| one | yes | yes | 2 or more numbers | `hops` |")
    assert list(rows) == [*(n for n in ALGORITHMS if n != "katib"), "katib:NAME", "hop"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_row_is_complete(name: str) -> None:
    kind = ALGORITHMS[name]
    assert get_args(kind.model_fields["algorithm"].annotation) == (name,)
    assert not kind.__abstractmethods__
    assert kind.__doc__
    assert kind.service in (None, "suggestion", "suggestion-gp")
