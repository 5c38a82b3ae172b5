"""The job `train`: one configuration with a seed of its own, outside of the search.

It is the trial's own command, whose result goes below `confirm/` in the run folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hpo_pipeline.results.job import places_of, places_parser
from hpo_pipeline.results.run_paths import RunPaths
from hpo_pipeline.trial.command import TrialCommand


def main(argv: Sequence[str]) -> int:
    """Train, and answer with the trial's result."""
    parser = argparse.ArgumentParser(
        prog="python -m hpo_pipeline.jobs train", parents=[places_parser()], allow_abbrev=False
    )
    parser.add_argument("--name", required=True, help="name of the run, and of its folder")
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="pairs")
    options = parser.parse_args(argv)
    from hpo_pipeline.trial.__main__ import main as run_trial

    places = places_of(options)
    command = TrialCommand(
        experiment=places.experiment,
        dataset=places.dataset,
        datasets=None if places.dataset else places.datasets,
        output=RunPaths(places.run).confirmation.trials,
        name=options.name,
        number=options.number,
        assignments=dict(pair.split("=", 1) for pair in options.pairs),
        seed=options.seed,
        storage=places.storage,
        answer=places.out,
        data=places.data,
    )
    return run_trial(command.argv())
