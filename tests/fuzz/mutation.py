"""Mutations of texts, bytes and structures; everything follows from the random generator."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NASTY_TEXTS = [
    *(
        "",
        " ",
        "\0",
        "é",
        "\ud800",
        "\U0001d54f",
        "\u202e",
        "\ufeff",
        "NaN",
        "-inf",
        "1e999",
        "null",
        "~",
    ),
    *("true", "no", "0x1f", "010", "1:30", "9" * 400, "a" * 300, "../../etc/passwd", "/dev/zero"),
    *("{}", "[]", "{{x}}", "${HOME}", "$(id)", "`id`", "'; --", "[/red]", "%s%n", "a\nb", "a\rb"),
    *("katib:", "katib:random", "s3://b/c", "mlflow://u:p@h", "file:///", "://", "http://[::1"),
    *("learning_rate", "model.x", "task.kind", "num_train_epochs", "accuracy", "score", "1Gi"),
]
NASTY_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**53, 2**63),
    *(2**64, -(2**63), 10**30, 0.1, 1e-9, [], {}, [[]], {"a": 1}, [1, 2, 3], [None], ["a", "b"]),
]
NASTY_LINES = [
    *("- x", "  - x", "a: b", "? [a]", "&x y", "*x", "!!int 5", "!!binary aGk=", "<<: {a: 1}"),
    *("---", "...", "%YAML 1.1", "\tx: 1", "x: |", "x: >-", "'", '"', "{", "}", "[", "]", "#"),
]


def value(rng: Random) -> Any:
    """Return a value that somebody might not expect."""
    return copy.deepcopy(rng.choice([*NASTY_VALUES, *NASTY_TEXTS]))


def text(rng: Random, source: str) -> str:
    """Return a text with a few changes to its characters, words and lines."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        lines = source.split("\n")
        line = rng.randrange(len(lines))
        at = rng.randrange(len(source) + 1)
        match rng.randrange(7):
            case 0:
                source = source[:at] + rng.choice(NASTY_TEXTS) + source[at:]
            case 1:
                source = source[:at] + source[at + rng.choice((1, 1, 2, 5, 40)) :]
            case 2:
                lines.insert(line, rng.choice([*lines, *NASTY_LINES]))
                source = "\n".join(lines)
            case 3:
                del lines[line]
                source = "\n".join(lines)
            case 4:
                lines[line] = " " * rng.randrange(5) + lines[line].strip()
                source = "\n".join(lines)
            case 5:
                words = lines[line].split(" ")
                words[rng.randrange(len(words))] = str(value(rng))
                lines[line] = " ".join(words)
                source = "\n".join(lines)
            case _:
                source = source[:at] + rng.choice("\t\"',:{\u2028") + source[at:]
    return source


def content(rng: Random, source: bytes) -> bytes:
    """Return bytes with some of them changed, cut out, or repeated."""
    found = bytearray(source)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(5):
            case 0 if found:
                found[at % len(found)] = rng.randrange(256)
            case 1:
                del found[at : at + rng.choice((1, 4, 100))]
            case 2:
                found[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
            case 3:
                del found[at:]
            case _:
                found[at:at] = found[at : at + 32]
    return bytes(found)


def structure(rng: Random, source: Any) -> Any:
    """Return plain data with a few of its nodes replaced, removed, renamed or repeated."""
    found = copy.deepcopy(source)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        found = _changed(rng, found)
    return found


def _changed(rng: Random, source: Any) -> Any:
    places = list(_places(source))
    if not places:
        return value(rng)
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(value(rng))] = holder.pop(key)
        case 2:
            holder[key] = copy.deepcopy(rng.choice(places)[0])
        case 3 if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case 4 if isinstance(holder[key], str):
            holder[key] = text(rng, holder[key])
        case _:
            holder[key] = value(rng)
    return source


def _places(source: Any) -> Any:
    """Yield each mapping or list below a structure, with each of its keys."""
    stack = [source]
    while stack:
        here = stack.pop()
        if isinstance(here, dict | list):
            for key in list(here) if isinstance(here, dict) else range(len(here)):
                yield here, key
                stack.append(here[key])


def as_json(source: Any) -> str:
    """Write a structure; halves of surrogate pairs are escaped."""
    return json.dumps(source)
