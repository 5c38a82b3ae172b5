"""The command `hpo predict`: a model and texts in, labels and scores out."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpo_pipeline.data.unlabelled import Inputs
    from hpo_pipeline.experiment.task import Task
    from hpo_pipeline.tasks.answers import Answer


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `hpo predict`."""
    predict = commands.add_parser("predict", help="answers of a model to texts or a file")
    predict.set_defaults(command=_predict)
    predict.add_argument("model", help="registered model (NAME, NAME@VERSION), or its folder")
    predict.add_argument("file", nargs="?", help="table, lines of text, images; - is the input")
    predict.add_argument("--text", action="append", metavar="TEXT", help="instead of a file")
    predict.add_argument("--input", metavar="COLUMNS", help="of the file; two for pairs (guessed)")
    predict.add_argument("--registry", metavar="URI", help="where models are registered (models)")
    predict.add_argument("--max-length", type=int, metavar="TOKENS", help="(that of the model)")
    predict.add_argument("--threshold", type=float, help="of one of several labels (0.5)")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a line, with all scores")
    form.add_argument("--csv", action="store_true", help="a table with a header")


def _predict(options: argparse.Namespace) -> int:
    from hpo_pipeline.registry.lookup import model_folder

    texts = _texts(options)
    file = Path(options.file) if options.file and texts is None else None
    if file is not None and not file.exists():
        raise DataError(f"{file}: there is no such file; --text takes a text itself")
    with tempfile.TemporaryDirectory(prefix="hpo-model-") as scratch:
        folder = model_folder(options.model, Path(scratch), options.registry)
        from hpo_pipeline.trial.answering.predictor import Reading, open_predictor, task_of

        columns = tuple(name.strip() for name in (options.input or "").split(",") if name)
        is_chat = file is not None and not columns and _has_chats(file)
        reading = Reading(columns, is_chat, options.max_length, options.threshold)
        task = task_of(folder, reading)
        inputs = _inputs(folder, task, file, texts, columns)
        found = open_predictor(folder, task).predict(inputs.values)
    rows = [{"input": shown, **answer} for shown, answer in zip(inputs.shown, found, strict=True)]
    _print(rows, options)
    return 0


def _texts(options: argparse.Namespace) -> list[str] | None:
    """Return the texts of the command line or the standard input; None where a file is named."""
    if options.text and options.file:
        raise DataError("give either a file or --text")
    if options.text:
        return list(options.text)
    if options.file not in (None, "-"):
        return None
    if options.file is None and sys.stdin.isatty():
        raise DataError("give a file, --text, or texts on the standard input, one a line")
    return sys.stdin.read().splitlines()


def _has_chats(file: Path) -> bool:
    from hpo_pipeline.data.unlabelled import is_table
    from hpo_pipeline.drafting.profiles import profiles
    from hpo_pipeline.drafting.sample import sample

    if not file.is_file() or not is_table(file):
        return False
    return any(p.what == "messages" for p in profiles(sample(str(file), rows=100).columns))


def _inputs(
    folder: Path, task: Task, file: Path | None, texts: Sequence[str] | None, columns: Any
) -> Inputs:
    from hpo_pipeline.data import unlabelled
    from hpo_pipeline.trial.answering.predictor import form_of, image_shape

    form = form_of(task)
    if file is None:
        return unlabelled.inputs_of_texts(texts or [], form)
    if form.input == "image":
        return unlabelled.inputs_of_images(file, image_shape(folder))
    if not unlabelled.is_table(file):
        try:
            return unlabelled.inputs_of_texts(file.read_text("utf-8").splitlines(), form)
        except (UnicodeDecodeError, OSError) as error:
            raise DataError(f"{file}: is neither a table nor a text in UTF-8 ({error})") from error
    return unlabelled.inputs_of_file(file, form, columns or _likely(file, form.input))


def _likely(file: Path, form: str) -> tuple[str, ...]:
    """Return the column that looks like the input, where no usual name does it."""
    from hpo_pipeline.drafting import columns
    from hpo_pipeline.drafting.profiles import profiles
    from hpo_pipeline.drafting.sample import sample

    if form != "text":
        return ()
    found = columns.texts(profiles(sample(str(file)).columns))
    return (columns.best_text(found).name,) if found else ()


def _print(rows: Sequence[Answer], options: argparse.Namespace) -> None:
    if options.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    flat = [{key: _cell(value) for key, value in row.items()} for row in rows]
    plain = [{k: v for k, v in row.items() if k != "scores"} for row in flat]
    if options.csv:
        writer = csv.DictWriter(sys.stdout, list(plain[0]) if plain else ["input"])
        writer.writeheader()
        writer.writerows(plain)
        return
    from hpo_pipeline.cli.output import print_answers

    print_answers(plain)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
