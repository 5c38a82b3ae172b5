"""Small data sets of many kinds, as people have them: with ids, dates, gaps and odd separators."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

GOOD = ["great", "lovely", "happy", "superb", "fine", "nice", "sweet", "bright"]
BAD = ["awful", "nasty", "sad", "horrid", "poor", "grim", "bitter", "dark"]
PLAIN = ["the", "a", "film", "day", "food", "book", "was", "is", "very", "quite", "and", "with"]
ROWS = 120


def sentence(rng: random.Random, number: int) -> str:
    """Return a text of its own, pleased where the number is odd."""
    words = [*rng.sample(GOOD if number % 2 else BAD, 3), *rng.sample(PLAIN, 5)]
    return f"{' '.join(words)} {number}"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> Path:
    """Write rows as a table with a header."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON, one a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def reviews(folder: Path) -> Path:
    """Texts and classes under usual names."""
    rng = random.Random(0)
    rows = [
        {"review": sentence(rng, i), "sentiment": "positive" if i % 2 else "negative"}
        for i in range(ROWS)
    ]
    return write_csv(folder / "reviews.csv", rows)


def tickets(folder: Path) -> Path:
    """Texts and classes among ids, dates, names and a column that is empty."""
    rng = random.Random(1)
    rows = [
        {
            "ticket_id": f"T-{10_000 + i}",
            "created_at": f"2024-0{1 + i % 9}-{10 + i % 18} 08:{i % 60:02d}:00",
            "customer_id": 100 + i % 30,
            "agent_name": ["Ann Lee", "Bo Ek", "Cy Fox"][i % 3],
            "subject": f"{rng.choice(GOOD)} {rng.choice(BAD)} thing {i}",
            "body": sentence(rng, i) + " and something more to say",
            "category": ["billing", "delivery", "login", "other"][i % 4],
            "closed": "",
        }
        for i in range(ROWS)
    ]
    return write_csv(folder / "tickets.csv", rows, delimiter=";")


def scores(folder: Path) -> Path:
    """Texts with a number each, and the language of all."""
    rng = random.Random(2)
    rows = [
        {
            "comment": sentence(rng, i),
            "lang": ["en", "de"][i % 2],
            "score": f"{rng.gauss(0, 2):.3f}",
        }
        for i in range(ROWS)
    ]
    return write_csv(folder / "scores.csv", rows)


def stars(folder: Path) -> Path:
    """Texts with whole numbers from 1 to 5."""
    rng = random.Random(3)
    rows = [{"id": i, "text": sentence(rng, i), "stars": 1 + i % 5} for i in range(ROWS)]
    return write_csv(folder / "stars.csv", rows)


def pairs(folder: Path) -> Path:
    """Two texts and what the second is to the first."""
    rng = random.Random(4)
    rows = [
        {
            "pairID": f"p{i}",
            "sentence1": sentence(rng, i),
            "sentence2": sentence(rng, i + 1),
            "gold_label": ["entailment", "neutral", "contradiction"][i % 3],
        }
        for i in range(ROWS)
    ]
    return write_jsonl(folder / "pairs.jsonl", rows)


def tagged(folder: Path) -> Path:
    """Words with tags that mark entities."""
    rng = random.Random(5)
    rows = []
    for i in range(ROWS):
        words = rng.sample(PLAIN, 4)
        tokens = [words[0], f"Ada{i}", "Lovelace", *words[1:]]
        rows.append({"id": str(i), "tokens": tokens, "ner": ["O", "B-PER", "I-PER", "O", "O", "O"]})
    return write_jsonl(folder / "names.jsonl", rows)


def completions(folder: Path) -> Path:
    """Prompts and what should follow them."""
    rng = random.Random(6)
    rows = [{"prompt": sentence(rng, i), "completion": f" {sentence(rng, i)}"} for i in range(ROWS)]
    return write_jsonl(folder / "prompts.jsonl", rows)


def chats(folder: Path) -> Path:
    """Chats under the names of ShareGPT."""
    rng = random.Random(7)
    rows = [
        {
            "id": f"chat_{i}",
            "conversations": [
                {"from": "human", "value": sentence(rng, i)},
                {"from": "gpt", "value": sentence(rng, i + 1)},
            ],
        }
        for i in range(ROWS)
    ]
    return write_jsonl(folder / "chats.jsonl", rows)


def several(folder: Path) -> Path:
    """Texts with a list of labels each, which may be empty."""
    rng = random.Random(8)
    names = ["film", "food", "sad", "glad"]
    rows = [{"headline": sentence(rng, i), "genres": rng.sample(names, i % 3)} for i in range(ROWS)]
    return write_jsonl(folder / "genres.jsonl", rows)


def separated(folder: Path) -> Path:
    """Texts with labels that a sign separates."""
    rng = random.Random(9)
    names = ["sci fi", "drama", "comedy", "war"]
    rows = [
        {
            "title": f"Film {i}",
            "plot": sentence(rng, i),
            "genre": "|".join(rng.sample(names, 1 + i % 3)),
        }
        for i in range(ROWS)
    ]
    return write_csv(folder / "plots.csv", rows)


def flags(folder: Path) -> Path:
    """Texts with a column of 0 and 1 for each label."""
    rng = random.Random(10)
    rows = [
        {
            "id": f"{i:016x}",
            "comment_text": sentence(rng, i),
            "toxic": int(i % 2 == 0),
            "insult": int(i % 3 == 0),
            "threat": int(i % 5 == 0),
        }
        for i in range(ROWS)
    ]
    return write_csv(folder / "toxic.csv", rows)


def summaries(folder: Path) -> Path:
    """Articles and their summaries."""
    rng = random.Random(11)
    rows = [
        {"article": " ".join(sentence(rng, i) for _ in range(4)), "highlights": sentence(rng, i)}
        for i in range(ROWS)
    ]
    return write_csv(folder / "news.csv", rows)


def unclear(folder: Path) -> Path:
    """Texts with two columns that may both be the label."""
    rng = random.Random(12)
    rows = [
        {
            "text": sentence(rng, i),
            "topic": ["film", "food", "travel"][i % 3],
            "sentiment": "positive" if i % 2 else "negative",
        }
        for i in range(ROWS)
    ]
    return write_csv(folder / "posts.csv", rows)


def digits(folder: Path) -> Path:
    """Scikit-learn's digits, as a folder of images for each."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    for i in range(ROWS):
        place = folder / "digits" / f"digit-{bunch.target[i]}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = (bunch.images[i] * 255 / 16).astype("uint8")
        Image.fromarray(pixels).save(place / f"{i}.png")
    return folder / "digits"


def iris(folder: Path) -> Path:
    """Scikit-learn's iris: numbers, and nothing that this package reads."""
    from sklearn.datasets import load_iris

    bunch: Any = load_iris()
    rows = [
        {**dict(zip(bunch.feature_names, row, strict=True)), "species": bunch.target_names[target]}
        for row, target in zip(bunch.data.tolist(), bunch.target, strict=True)
    ]
    return write_csv(folder / "iris.csv", rows)


def leaking(folder: Path) -> Path:
    """Files for training and test: rows in both, equal rows, contradictions, a rare class."""
    rng = random.Random(13)
    place = folder / "spam"
    place.mkdir()
    rows = [
        {"sms": sentence(rng, i), "label": "spam" if i % 6 == 0 else "ham"} for i in range(ROWS)
    ]
    odd = [{**rows[1], "label": "spam"}, rows[2], rows[2]]
    write_csv(place / "train.csv", [*rows[:90], *odd])
    write_csv(place / "test.csv", [*rows[90:], *rows[:8]])
    return place
