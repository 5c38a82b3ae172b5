"""The command line of a trial, written and read in one place, for every engine.

The local engine puts values into it, Katib placeholders that it fills in itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.errors import ExperimentError


@dataclass(frozen=True)
class TrialCommand:
    """What a trial is told: `assignments` are texts, for only the space knows their types.

    `resume` is the folder of the trial from whose checkpoint it goes on; `seed` replaces that of
    the search.
    """

    experiment: Path
    dataset: Path
    output: Path
    name: str
    number: int
    assignments: Mapping[str, str]
    channel: int | None = None
    resume: Path | None = None
    seed: int | None = None

    def argv(self) -> list[str]:
        """Return the arguments after `python -m hpo_pipeline.trial`."""
        fixed = {
            "--experiment": str(self.experiment),
            "--dataset": str(self.dataset),
            "--output": str(self.output),
            "--name": self.name,
            "--number": str(self.number),
        }
        arguments = [part for pair in fixed.items() for part in pair]
        if self.channel is not None:
            arguments += ["--channel", str(self.channel)]
        if self.resume is not None:
            arguments += ["--resume", str(self.resume)]
        if self.seed is not None:
            arguments += ["--seed", str(self.seed)]
        return arguments + [p for n, v in self.assignments.items() for p in ("--set", f"{n}={v}")]


def parse(argv: Sequence[str]) -> TrialCommand:
    """Return the command that `TrialCommand.argv` wrote.

    Raises:
        ExperimentError: a `--set` without `=`.
    """
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.trial", allow_abbrev=False)
    parser.add_argument("--experiment", type=Path, required=True, help="experiment file")
    parser.add_argument("--dataset", type=Path, required=True, help="prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="folder of all trials")
    parser.add_argument("--name", required=True, help="name of the trial, and of its folder")
    parser.add_argument("--number", type=int, default=0, help="number of the trial")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="pairs")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="trial to go on from")
    parser.add_argument("--seed", type=int, help="instead of that of the search")
    parser.add_argument("--channel", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    pairs = [pair.partition("=") for pair in options.pairs]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise ExperimentError("--set", [f"must be NAME=VALUE, got {name!r}" for name in wrong])
    return TrialCommand(
        experiment=options.experiment,
        dataset=options.dataset,
        output=options.output,
        name=options.name,
        number=options.number,
        assignments={name: value for name, _, value in pairs},
        channel=options.channel,
        resume=options.resume,
        seed=options.seed,
    )


def full_argv(command: TrialCommand) -> list[str]:
    """Return the whole command line, for an engine that starts a process of its own."""
    return [sys.executable, "-m", "hpo_pipeline.trial", *command.argv()]
