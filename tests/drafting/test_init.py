"""`hpo init` on data as people have them: kind and columns, or a question; nothing is trained."""

from __future__ import annotations

import re

import pytest
import yaml

from hpo_pipeline.cli.main import main
from hpo_pipeline.drafting.draft import Options, draft
from hpo_pipeline.drafting.guess import Wanted
from hpo_pipeline.drafting.writing import written
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.loading import read
from tests.drafting import datasets

TEXT = "text-classification"
FOUND = {
    "reviews": (TEXT, {"input": "review", "label": "sentiment"}, "accuracy"),
    "tickets": (TEXT, {"input": "body", "label": "category"}, "accuracy"),
    "scores": (TEXT, {"input": "comment", "label": "score"}, "spearman"),
    "stars": (TEXT, {"input": "text", "label": "stars"}, "accuracy"),
    "pairs": (TEXT, {"input": ["sentence1", "sentence2"], "label": "gold_label"}, "accuracy"),
    "tagged": ("token-classification", {"input": "tokens", "label": "ner"}, "f1"),
    "completions": (
        "language-modeling",
        {"input": "prompt", "label": "completion"},
        "bits_per_byte",
    ),
    "chats": ("language-modeling", {"input": "conversations"}, "bits_per_byte"),
    "several": (TEXT, {"input": "headline", "label": "genres"}, "f1_micro"),
    "separated": (TEXT, {"input": "plot", "label": "genre", "separator": "|"}, "f1_micro"),
    "flags": (
        TEXT,
        {"input": "comment_text", "label": ["toxic", "insult", "threat"]},
        "f1_micro",
    ),
    "summaries": ("seq2seq", {"input": "article", "label": "highlights"}, "rougeL"),
    "digits": ("image-classification", None, "accuracy"),
    "leaking": (TEXT, {"input": "sms", "label": "label"}, "f1_macro"),
}


@pytest.mark.parametrize("name", FOUND)
def test_kind_and_columns_are_found_and_the_file_is_right(name, tmp_path):
    data = getattr(datasets, name)(tmp_path)
    text = written(draft(str(data), Options()), tmp_path)
    file = tmp_path / "drafted.yaml"
    file.write_text(text)
    content = yaml.safe_load(text)
    kind, columns, metric = FOUND[name]
    assert content["task"]["kind"] == kind
    assert content["task"].get("columns") == columns
    assert content["objective"]["metric"] == metric
    assert read(file)[1] == []
    assert max(map(len, text.splitlines())) <= 130


def test_the_settings_of_a_kind_are_found(tmp_path):
    found = {
        name: draft(str(getattr(datasets, name)(tmp_path)), Options()).guess.settings
        for name in ("scores", "several", "chats", "tagged")
    }
    assert found["scores"] == {"problem": "regression"}
    assert found["several"] == {"problem": "multi_label"}
    assert found["chats"] == {"examples": "chats"}
    assert found["tagged"] == {"scheme": "auto"}


def test_two_likely_labels_are_a_question_which_an_option_answers(tmp_path):
    data = str(datasets.unclear(tmp_path))
    with pytest.raises(DataError, match=r"Which column is the label.*--label topic or --label se"):
        draft(data, Options())
    answered = draft(data, Options(), lambda question: question.choices[1])
    assert answered.guess.labels == ("sentiment",)
    assert draft(data, Options(Wanted(labels=("topic",)))).guess.labels == ("topic",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\na b c\nd e f\n", "nothing like a label beside text"),
        ("a.txt", "a line of text\nand another\n", "lines of text and no labels"),
        ("a.csv", "", "cannot be read|has no rows|empty"),
        ("a.pdf", "%PDF-1.4", "is no table that can be read here; save it as one of .csv"),
        ("a.csv", "\x00\x01\x02\xff", "cannot be read|no rows"),
    ],
)
def test_what_cannot_be_learnt_from_is_a_sentence(name, content, message, tmp_path, capsys):
    file = tmp_path / name
    file.write_text(content, "latin-1")
    assert main(["init", str(file), "--yes", "--out", str(tmp_path / "x.yaml")]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert not (tmp_path / "x.yaml").exists()


def test_a_table_of_numbers_has_no_input(tmp_path):
    with pytest.raises(DataError, match=r"no texts, images or chats.*species \(word\)"):
        draft(str(datasets.iris(tmp_path)), Options())


def test_texts_alone_are_learnt_when_asked(tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"a line of text number {i}\n" for i in range(60)))
    found = draft(str(file), Options(Wanted(kind="language-modeling")))
    assert found.guess.settings == {"examples": "texts"}


def test_leaks_and_duplicates_are_said(tmp_path):
    said = " ".join(draft(str(datasets.leaking(tmp_path)), Options()).remarks)
    assert "2 equal to another row" in said
    assert "2 with contradicting labels" in said
    assert "7 also in the test rows" in said


def test_what_matters_decides_the_objectives(tmp_path):
    data = str(datasets.reviews(tmp_path))
    content = yaml.safe_load(written(draft(data, Options(matter="latency")), tmp_path))
    assert [o["metric"] for o in content["objective"]] == ["accuracy", "latency_p95_ms"]
    assert content["select"]["tolerance"] == {"accuracy": 0.01}
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(content))
    assert read(file)[1] == []


def test_a_large_data_set_is_cut_to_what_a_cpu_can_train(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    rows = [{"text": f"words and words {i} " * 60, "label": i % 2} for i in range(9000)]
    data = datasets.write_csv(tmp_path / "many.csv", rows)
    text = written(draft(str(data), Options()), tmp_path)
    assert 500 <= yaml.safe_load(text)["task"]["rows"]["train"] < 6300
    assert "training rows are there" in text


def test_the_command_says_what_to_run_and_keeps_what_is_there(tmp_path, monkeypatch, capsys):
    datasets.reviews(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "review; label: sentiment" in said
    assert "hpo run reviews.yaml" in said
    assert main(["init", "reviews.csv", "--yes"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["init", "reviews.csv", "--yes", "--force", "--label", "stars"]) == 2
    assert "there is no column 'stars'; there are review, sentiment" in capsys.readouterr().err


def test_a_draft_passes_hpo_check(tmp_path, monkeypatch, capsys, tiny_bert):
    data = datasets.reviews(tmp_path)
    file = tmp_path / "x.yaml"
    options = ["--yes", "--out", str(file), "--model", str(tiny_bert)]
    assert main(["init", str(data), *options]) == 0
    assert main(["check", str(file)]) == 0
    assert "no faults" in capsys.readouterr().out
