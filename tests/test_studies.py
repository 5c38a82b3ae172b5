"""The studies of the talk: those of the hub have the columns and splits of their data sets' cards.

Nothing is downloaded: a few made-up rows stand in the place of each data set.
"""

from pathlib import Path

import pytest

from hpo_pipeline.data.cleaning.values import Rules
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers.source_file import BadRows
from hpo_pipeline.data.tables.hub import tables_of
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks import TASKS

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "experiments/studies"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def imdb():
    """Return rows as the card of stanfordnlp/imdb has them; those without a label have -1."""
    import datasets

    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"])
    )

    def rows(labels):
        found = {"text": [f"film {i}" for i in range(len(labels))], "label": labels}
        return datasets.Dataset.from_dict(found, features=features)

    splits = {"train": [0, 1, 0, 1], "test": [0, 1], "unsupervised": [-1, -1]}
    return datasets.DatasetDict({name: rows(labels) for name, labels in splits.items()})


def cifar10():
    """Return images as the card of uoft-cs/cifar10 has them."""
    import datasets
    from PIL import Image

    features = datasets.Features(
        img=datasets.Image(), label=datasets.ClassLabel(names=list(CLASSES))
    )
    rows = {"img": [Image.new("RGB", (32, 32), (i, 0, 0)) for i in range(4)], "label": [0, 1, 2, 3]}
    made = datasets.Dataset.from_dict(rows, features=features)
    return datasets.DatasetDict({"train": made, "test": made})


def ultrachat():
    """Return chats as the card of HuggingFaceH4/ultrachat_200k has them."""
    import datasets

    text = datasets.Value("string")
    features = datasets.Features(
        prompt=text, prompt_id=text, messages=[{"content": text, "role": text}]
    )
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]
    rows = {"prompt": ["Hello"], "prompt_id": ["1"], "messages": [said]}
    made = datasets.Dataset.from_dict(rows, features=features)
    splits = ("train_sft", "test_sft", "train_gen", "test_gen")
    return datasets.DatasetDict(dict.fromkeys(splits, made))


CARDS = {
    "stanfordnlp/imdb": (imdb, {"neg", "pos"}),
    "uoft-cs/cifar10": (cifar10, set(CLASSES[:4])),
}


@pytest.mark.parametrize("name", ["imdb-distilbert", "imdb-distilbert-better", "cifar10-asha"])
def test_columns_and_splits_are_those_of_the_card(name):
    task = load(STUDIES / f"{name}.yaml").task
    made, labels = CARDS[task.sources[0]]
    rules = Rules(TASKS[task.kind].form(task), None, BadRows(), Progress())
    tables = tables_of(task, rules, made(), "hub")
    assert set(tables.tables) == {"train", "test"}
    assert set(tables.tables["train"]["label"][:]) == labels
    assert task.subset == "plain_text"


def test_chats_are_read_as_their_card_has_them():
    task = load(STUDIES / "llm-sft.yaml").task
    rules = Rules(TASKS[task.kind].form(task), None, BadRows(), Progress())
    tables = tables_of(task, rules, ultrachat(), "hub")
    assert set(tables.tables) == {"train", "test"}
    assert [m["role"] for m in tables.tables["train"]["input"][0]] == ["user", "assistant"]


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_has_a_page(path):
    pages = " ".join(page.read_text("utf-8") for page in (ROOT / "docs/studies").glob("*.md"))
    assert f"experiments/studies/{path.name}" in pages
