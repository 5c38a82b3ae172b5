"""The model card: its front matter is YAML, its tables hold whatever the values are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.model_card import Evidence, model_card
from hpo_pipeline.results.trial import Trial, TrialState


def experiment(**task: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "tweets",
            "task": {"kind": "text-classification", "model": "minilm", "data": "tweets", **task},
            "objective": {"metric": "f1", "goal": "maximize"},
            "constraints": ["latency_p95_ms <= 15"],
            "space": {
                "learning_rate": {"type": "float", "low": 1e-5, "high": 2e-3, "log": True},
                "per_device_train_batch_size": {"type": "choice", "values": [8, 16]},
                "model.num_hidden_layers": {"type": "int", "low": 2, "high": 3},
            },
            "budget": {"trials": 12},
        }
    )


TRIAL = Trial(
    name="trial-7",
    number=7,
    state=TrialState.SUCCEEDED,
    assignments={"learning_rate": 3e-4, "per_device_train_batch_size": 8},
    metrics={"f1": 0.93, "latency_p95_ms": 4.2},
    environment={"torch": "2.13.0", "python": "3.11.7"},
)
EVIDENCE = Evidence(
    test={"f1": 0.91},
    counts={"succeeded": 10, "stopped": 2},
    source="asset tweets",
    fingerprint="abc123",
    rows={"train": 800, "test": 1000},
    labels=["negative", "positive"],
    majority=0.68,
    licence="Apache-2.0",
    base_model="sentence-transformers/all-MiniLM-L6-v2",
)


def front_matter(card: str) -> dict[str, Any]:
    _, head, _ = card.split("---\n", 2)
    return dict(yaml.safe_load(head))


def test_the_front_matter_is_what_the_hub_reads() -> None:
    found = front_matter(model_card(experiment(), TRIAL, EVIDENCE))
    assert found["license"] == "apache-2.0"
    assert found["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert found["pipeline_tag"] == "text-classification"
    assert found["metrics"] == ["f1"]


def test_what_is_not_known_is_left_out() -> None:
    card = model_card(experiment(), TRIAL, Evidence())
    assert front_matter(card).keys().isdisjoint({"license", "base_model"})
    assert "licence of the base model is not known" in card


def test_what_was_left_out_of_the_data_is_said() -> None:
    notes = ["train: 9 rows read; left out: 2 equal to another row.", "Passed over: a*b.csv."]
    section = model_card(experiment(), TRIAL, replace(EVIDENCE, notes=notes)).split("## Data")[1]
    assert "\n\n- train: 9 rows read; left out: 2 equal to another row.\n" in section
    assert "- Passed over: a\\*b.csv.\n" in section


def test_a_model_from_scratch_has_no_base_model() -> None:
    card = model_card(experiment(from_scratch=True), TRIAL, EVIDENCE)
    assert "base_model" not in front_matter(card)
    assert "trained from random weights" in card


@pytest.mark.parametrize(
    "line",
    [
        "the best of 12 trials",
        "- Objective: maximize f1",
        "- Constraints: latency_p95_ms &lt;= 15",
        "- Trials: 10 succeeded, 2 stopped",
        "| learning_rate | float | 1e-05 to 0.002 | log |",
        "| per_device_train_batch_size | choice | 8, 16 |  |",
        "| learning_rate | 0.0003 |",
        "| f1 | 0.93 | 0.91 |",
        "| latency_p95_ms | 4.2 |  |",
        "| fingerprint of the prepared data | abc123 |",
        "| rows: test | 1,000 |",
        "| labels | negative, positive |",
        "| torch | 2.13.0 |",
        'pipeline("text-classification", model="path/to/this/folder")',
    ],
)
def test_the_card_says(line: str) -> None:
    assert line in model_card(experiment(), TRIAL, EVIDENCE)


def test_labels_cannot_break_a_table() -> None:
    labels = ["a|b", "two\nlines", "<script>", "*_x_*"]
    card = model_card(experiment(), TRIAL, replace(EVIDENCE, labels=labels))
    assert "| labels | a\\|b, two lines, &lt;script&gt;, \\*\\_x\\_\\* |" in card
