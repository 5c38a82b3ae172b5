"""The JSON Schema, which editors check and complete experiment files with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_pipeline.experiment.algorithms import ALGORITHMS
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.stopping import RULES

jsonschema = pytest.importorskip("jsonschema")
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SCHEMA = Experiment.model_json_schema(by_alias=True)


def is_valid(**sections: Any) -> bool:
    content = yaml.safe_load((EXPERIMENTS / "digits.yaml").read_text("utf-8"))
    found: bool = jsonschema.Draft202012Validator(SCHEMA).is_valid({**content, **sections})
    return found


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_our_own_experiments_are_valid(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))
    jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "katib"])
def test_each_algorithm_is_in_the_schema_with_its_own_settings(name: str) -> None:
    own: Any = ALGORITHMS[name].model_fields["settings"].annotation
    known = {"algorithm": name, "settings": {}, "seed": 3}
    assert is_valid(search=known)
    assert not is_valid(search={**known, "settings": {"nonsense": 1}})
    for field in own.model_fields:
        assert not is_valid(search={**known, "settings": {field: "text"}})


def test_short_forms_of_the_file_are_in_the_schema() -> None:
    for search in ({"seed": 1}, {"algorithm": "katib:random", "settings": {"a": 1}}):
        assert is_valid(search=search)
    assert not is_valid(search={"algorithm": "hop"})
    assert not is_valid(stopping={"algorithm": "hop"})
    assert is_valid(stopping={"algorithm": "katib:medianstop"}, cluster={"cpu": 2})
    assert all(is_valid(stopping={"algorithm": rule}) for rule in RULES)
    assert not is_valid(stopping={"algorithm": "median", "percentile": 3})
