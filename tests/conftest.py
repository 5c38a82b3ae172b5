"""A tiny real model and a small data set with a rule that it can learn, made once a session."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests import nursery

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers reads it: no test needs a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads that wait for each other spin: two workers with as many threads as cores take several
# times as long as with one each, and models of 16 units gain nothing from a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOOD = ["great", "lovely", "happy", "superb", "fine", "nice", "sweet", "bright"]
BAD = ["awful", "nasty", "sad", "horrid", "poor", "grim", "bitter", "dark"]
PLAIN = ["the", "a", "film", "day", "food", "book", "was", "is", "very", "quite", "and", "with"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than cores, for tests wait for their processes half of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> None:
    """Keep caches and registries of a test inside its folder."""
    if "real_cache" not in request.keywords:
        monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPO_REGISTRY", str(tmp_path / "models"))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Take back what a trial that ran in this process does at SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True, scope="session")
def _nursery() -> None:
    """Have runs in this process fork their processes instead of starting them."""
    nursery.use_here()


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with 240 different sentences, `text,label`, labels `negative` and `positive`."""
    rng = random.Random(7)
    path = tmp_path_factory.mktemp("data") / "sentences.csv"
    rows = ["text,label"]
    for i in range(240):
        words, label = ((GOOD, "positive"), (BAD, "negative"))[i % 2]
        picked = [*rng.sample(words, 3), *rng.sample(PLAIN, 4)]
        rng.shuffle(picked)
        rows.append(f"{' '.join(picked)},{label}")
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and 16 units with a word tokenizer, as a model folder with weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *PLAIN]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(str(folder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertForSequenceClassification(config).save_pretrained(str(folder))
    return folder


@pytest.fixture
def write_experiment(tmp_path: Path, tiny_bert: Path, sentences: Path):
    """Return a function that writes an experiment file on the tiny model and returns its path.

    Keyword arguments replace whole sections by their YAML text; `training` and `extra` replace
    a line of the task and add lines to it.
    """

    def write(
        name: str = "toy",
        *,
        training: str = "{num_train_epochs: 3, per_device_train_batch_size: 8}",
        extra: str = "from_scratch: false",
        **sections: str,
    ) -> Path:
        content = {
            "task": dedent(f"""\
                kind: text-classification
                model: {tiny_bert}
                data: {sentences}
                max_length: 12
                rows: {{train: 120, validation: 40, test: 60}}
                training: {training}
                """)
            + extra,
            "objective": "{metric: accuracy, goal: maximize}",
            "space": "{learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}}",
            "search": "{algorithm: random, seed: 1}",
            "stopping": "{algorithm: none}",
            "baseline": "none",
            "budget": "{trials: 3, parallel: 2}",
            **sections,
        }
        lines = [f"name: {name}"]
        for key, text in content.items():
            if "\n" in text:
                lines += [f"{key}:", *(f"  {line}" for line in text.splitlines())]
            else:
                lines.append(f"{key}: {text}")
        path = tmp_path / f"{name}.yaml"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A process server for all trials of a file."""
    server = nursery.start_server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def cluster(server, tmp_path, tiny_bert, sentences):
    """A fake cluster on which all is well, with model and data in its storage."""
    from tests.engines.katib.fake_cluster import FakeCluster
    from tests.engines.katib.test_doctor import sound

    cluster = FakeCluster(server, tmp_path / "cluster")
    (cluster.storage / "tiny-bert").symlink_to(tiny_bert)
    (cluster.storage / "sentences.csv").symlink_to(sentences)
    cluster.objects |= {key: {"metadata": {}, **item} for key, item in sound().items()}
    yield cluster
    cluster.close()


@pytest.fixture
def write_for_cluster(write_experiment, tiny_bert, sentences):
    """As write_experiment, with model and data where the pods see them."""

    def write(*arguments, **sections):
        file = write_experiment(*arguments, **sections)
        text = file.read_text("utf-8").replace(str(tiny_bert), "/storage/tiny-bert")
        file.write_text(text.replace(str(sentences), "/storage/sentences.csv"), "utf-8")
        return file

    return write
