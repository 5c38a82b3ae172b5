"""The command `hpo init`: looks at data, asks what matters, and writes an experiment file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_pipeline.errors import DataError

if TYPE_CHECKING:
    from hpo_pipeline.drafting.draft import Ask
    from hpo_pipeline.drafting.guess import Question

KINDS = (
    *("text-classification", "token-classification", "image-classification"),
    *("language-modeling", "seq2seq"),
)
MATTERS = ("quality", "latency", "size", "cost")
TRIES = 3


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `hpo init`."""
    init = commands.add_parser("init", help="look at data, and write an experiment file for them")
    init.set_defaults(command=_init)
    init.add_argument("data", nargs="?", help="a file, a folder, an asset (the only file here)")
    init.add_argument("--out", type=Path, metavar="FILE", help="experiment file (NAME.yaml)")
    init.add_argument("--yes", "-y", action="store_true", help="ask nothing")
    init.add_argument("--force", action="store_true", help="overwrite the experiment file")
    init.add_argument("--matters", choices=MATTERS, help="what matters most (quality)")
    init.add_argument("--kind", choices=KINDS, help="kind of task (guessed)")
    init.add_argument(
        "--input", metavar="COLUMNS", help="one column, or two with a comma (guessed)"
    )
    init.add_argument("--label", metavar="COLUMNS", help="one column, or several (guessed)")
    init.add_argument("--model", help="base model: an asset, a folder, a hub id (chosen)")
    init.add_argument("--name", help="of the experiment (that of the data)")


def _init(options: argparse.Namespace) -> int:
    from hpo_pipeline.data.progress import ProgressLine
    from hpo_pipeline.drafting.draft import Options, draft, unanswered
    from hpo_pipeline.drafting.guess import Wanted
    from hpo_pipeline.drafting.sample import Sample
    from hpo_pipeline.drafting.writing import name_of, written

    data = options.data or _only_data(Path.cwd())
    wanted = Wanted(options.kind, _names(options.input), _names(options.label))
    out: Path = options.out or Path(f"{options.name or name_of(Sample(Path(data), {}))}.yaml")
    check_free(out, is_forced=options.force)
    is_asked = sys.stdin.isatty() and not options.yes
    ask: Ask = _ask if is_asked else unanswered
    chosen = Options(wanted, options.matters, options.model, options.name)
    found = draft(data, chosen, ask, ProgressLine())
    out.write_text(written(found, out.parent), "utf-8")
    for remark in found.remarks:
        print(remark)
    place = out if out.parent != Path() else out.name
    minutes = max(1, round(found.plan.minutes))
    print(f"\nWrote {place}. Next:")
    print(f"  hpo estimate {place}   measures how long that takes, with two short trials")
    print(f"  hpo run {place}        about {minutes} min: {found.plan.trials} trials")
    return 0


def _only_data(folder: Path) -> str:
    """Return the data of a folder, where there is one candidate."""
    from hpo_pipeline.drafting.sample import candidates

    found = candidates(folder)
    if len(found) == 1:
        return found[0]
    there = f"there are {', '.join(found[:10])}" if found else "there are none here"
    raise DataError(f"name the data, such as `hpo init reviews.csv`; {there}")


def check_free(out: Path, *, is_forced: bool) -> None:
    """Check that a file may be written.

    Raises:
        DataError: it is there already, or its folder is not.
    """
    if out.exists() and not is_forced:
        raise DataError(f"{out}: is there already; name another with --out, or add --force")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; create it, or name another")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _ask(question: Question) -> str:
    """Ask a person, by number or by name; the first choice is the default."""
    print(question.text)
    for number, choice in enumerate(question.choices, start=1):
        print(f"  {number}. {choice}")
    for _ in range(TRIES):
        answer = input("[1] ").strip() or "1"
        if answer.isdigit() and 1 <= int(answer) <= len(question.choices):
            return question.choices[int(answer) - 1]
        if answer in question.choices:
            return answer
        print(f"Write a number from 1 to {len(question.choices)}, or one of the names.")
    raise DataError(question.as_fault())
