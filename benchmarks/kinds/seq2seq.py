"""A small T5 from scratch that writes dates in ISO's form, against simple baselines.

    python benchmarks/kinds/seq2seq.py [--seeds 3]
    python benchmarks/kinds/seq2seq.py --write dates.jsonl

A row is a date as people write it in English, German, French or Spanish, and its ISO form:
"Friday, the 3rd of May 2019" is 2019-05-03. No date is in two rows, so dates of the test rows were
never seen. Baselines: the parser of dateutil, which knows English, and the text as it is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dateutil.parser
import yaml
from training import Split, splits_of, train
from transformers.utils import logging

from hpo_pipeline.experiment.loading import load

EXPERIMENT = Path(__file__).parents[2] / "experiments/own-data/dates.yaml"
ROWS = 6000
FIRST, DAYS = datetime.date(1950, 1, 1), 36_500
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
}
WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
}
FORMS = {
    "en": ("{d} {m} {y}", "{m} {o}, {y}", "{w}, the {o} of {m} {y}", "{s} {d}, {y}"),
    "de": ("{d}. {m} {y}", "{w}, den {d}. {m} {y}", "{d}.{n}.{y}"),
    "fr": ("{d} {m} {y}", "le {w} {d} {m} {y}"),
    "es": ("{d} de {m} de {y}", "{w}, {d} de {m} de {y}"),
}  # fmt: skip


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th …"""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 11 <= number <= 13 else ending}"


def dates(count: int) -> Iterator[dict[str, str]]:
    """Yield different dates, as people write them and in ISO's form."""
    rng = random.Random(0)
    for days in rng.sample(range(DAYS), count):
        date = FIRST + datetime.timedelta(days)
        language = rng.choice(list(FORMS))
        month = MONTHS[language].split()[date.month - 1]
        text = rng.choice(FORMS[language]).format(
            d=date.day,
            o=ordinal(date.day),
            m=month,
            s=month[:3],
            n=date.month,
            y=date.year,
            w=WEEKDAYS[language].split()[date.weekday()],
        )
        yield {"text": text, "iso": date.isoformat()}


def write_rows(file: Path) -> None:
    """Write the data as JSON lines."""
    lines = (json.dumps(row, ensure_ascii=False) for row in dates(ROWS))
    file.write_text("\n".join(lines) + "\n", "utf-8")


def parsed(text: str) -> str:
    """Return what dateutil reads, or nothing."""
    try:
        return dateutil.parser.parse(text).date().isoformat()
    except (ValueError, OverflowError):
        return ""


def baselines(test: Split) -> dict[str, float]:
    """Return the share of exact answers of each baseline."""
    answers = {"dateutil": list(map(parsed, test.inputs)), "copy": test.inputs}
    return {
        name: statistics.mean(a == b for a, b in zip(found, test.labels, strict=True))
        for name, found in answers.items()
    }


def experiment(data: Path, seed: int) -> dict[str, Any]:
    """Return the example's experiment on these data, with the rows of a seed."""
    sections: dict[str, Any] = yaml.safe_load(EXPERIMENT.read_text("utf-8"))
    sections["task"] |= {"data": str(data)}
    sections["task"]["rows"] |= {"seed": seed}
    return sections


def main() -> None:
    """Train and print."""
    logging.set_verbosity_error()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", default="5e-3")
    parser.add_argument("--beams", default="1")
    parser.add_argument("--write", metavar="FILE", help="write the data only")
    arguments = parser.parse_args()
    if arguments.write:
        write_rows(Path(arguments.write))
        return
    found = []
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "dates.jsonl"
        write_rows(data)
        for seed in range(arguments.seeds):
            file = Path(place) / f"dates-{seed}.json"
            file.write_text(json.dumps(experiment(data, seed)), "utf-8")
            counted = baselines(splits_of(load(file))["test"])
            values = {"learning_rate": arguments.learning_rate, "task.num_beams": arguments.beams}
            trained = train(file, values, Path(place), seed)
            found.append({**counted, "T5": trained.test["exact_match"]})
            listed = ", ".join(f"{name} {value:.4f}" for name, value in found[-1].items())
            checked = trained.validation["exact_match"]
            spent = f"{trained.seconds:.0f} s of CPU time"
            print(f"{seed}: {listed}; on validation {checked:.4f}, {spent}", flush=True)
    means = {name: statistics.mean(row[name] for row in found) for name in found[0]}
    print("mean: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items()), flush=True)


if __name__ == "__main__":
    main()
