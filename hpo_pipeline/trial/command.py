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
from hpo_pipeline.trial.names import NO_PARENT, trial_number

DATABASE_OPTION = "--database"


@dataclass(frozen=True)
class TrialCommand:
    """What a trial is given: `assignments` are texts, since only the space knows their types.

    `resume` is the folder of the trial from whose checkpoint it resumes, below `output` where it
    is only a name; `seed` replaces that of the search. Where `dataset` is a folder of datasets
    (`datasets`), the first trial prepares that of the experiment. `stopping` and `database` are
    the addresses of the stopping service and of Katib's database; `storage` is where fsspec finds
    the datasets and takes the results, in place of folders that all trials see. `answer` is a
    file that gets the result without its curve; `data` is the fingerprint that the dataset must
    have.
    """

    experiment: Path
    dataset: Path | None
    output: Path
    name: str
    number: int
    assignments: Mapping[str, str]
    channel: int | None = None
    resume: Path | None = None
    seed: int | None = None
    datasets: Path | None = None
    stopping: str | None = None
    database: str | None = None
    storage: str | None = None
    answer: Path | None = None
    data: str | None = None

    def argv(self) -> list[str]:
        """Return the arguments after `python -m hpo_pipeline.trial`."""
        options = {
            "--experiment": self.experiment,
            "--dataset": self.dataset,
            "--datasets": self.datasets,
            "--output": self.output,
            "--name": self.name,
            "--number": None if self.number < 0 else self.number,
            "--channel": self.channel,
            "--resume": self.resume,
            "--seed": self.seed,
            "--stopping": self.stopping,
            DATABASE_OPTION: self.database,
            "--storage": self.storage,
            "--answer": self.answer,
            "--data": self.data,
        }
        arguments = [p for n, v in options.items() if v is not None for p in (n, str(v))]
        return arguments + [p for n, v in self.assignments.items() for p in ("--set", f"{n}={v}")]


def parse(argv: Sequence[str]) -> TrialCommand:
    """Return the command that `TrialCommand.argv` wrote.

    Raises:
        ExperimentError: a `--set` without `=`.
    """
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.trial", allow_abbrev=False)
    parser.add_argument("--experiment", type=Path, required=True, help="experiment file")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--dataset", type=Path, help="prepared dataset")
    data.add_argument("--datasets", type=Path, help="folder of datasets; prepared if need be")
    parser.add_argument("--output", type=Path, required=True, help="folder of all trials")
    parser.add_argument("--name", required=True, help="name of the trial, and of its folder")
    parser.add_argument("--number", type=int, help="number of the trial (from its name)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="pairs")
    parser.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="trial to resume from, or none"
    )
    parser.add_argument("--seed", type=int, help="instead of that of the search")
    parser.add_argument("--stopping", metavar="HOST:PORT", help="stopping service")
    parser.add_argument(DATABASE_OPTION, metavar="HOST:PORT", help="Katib's database")
    parser.add_argument("--storage", metavar="URI", help="place of datasets and results")
    parser.add_argument("--answer", type=Path, metavar="FILE", help="gets the result, short")
    parser.add_argument("--data", metavar="FINGERPRINT", help="of the data that the run is about")
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
        number=_number(options),
        assignments={name: value for name, _, value in pairs},
        channel=options.channel,
        resume=_resume(options),
        seed=options.seed,
        datasets=options.datasets,
        stopping=options.stopping,
        database=options.database,
        storage=options.storage,
        answer=options.answer,
        data=options.data,
    )


def _number(options: argparse.Namespace) -> int:
    if options.number is not None:
        return int(options.number)
    return trial_number(options.name) or 0


def _resume(options: argparse.Namespace) -> Path | None:
    if options.resume is None or str(options.resume) == NO_PARENT:
        return None
    resume: Path = options.resume
    is_name = len(resume.parts) == 1
    return options.output / resume if is_name else resume


def full_argv(command: TrialCommand) -> list[str]:
    """Return the whole command line, for an engine that starts a process of its own."""
    return [sys.executable, "-P", "-m", "hpo_pipeline.trial", *command.argv()]
