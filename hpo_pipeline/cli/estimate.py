"""The command `hpo estimate`: time and cost of a run before it runs."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `hpo estimate`."""
    command = commands.add_parser("estimate", help="time and cost of a run, from short trials")
    command.set_defaults(command=_estimate)
    command.add_argument("file", type=Path, help="experiment file")
    command.add_argument("--price", type=float, metavar="AN_HOUR", help="of a machine like this")
    command.add_argument("--json", action="store_true", help="for machines")


def _estimate(options: argparse.Namespace) -> int:
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.flow.estimate import STEPS, estimate
    from hpo_pipeline.reports.formatting import duration

    found = estimate(load(options.file))
    if options.json:
        print(json.dumps(asdict(found)))
        return 0
    load_average = os.getloadavg()[0]
    side = f"{found.parallel} side by side"
    print(
        f"Measured short trials of {STEPS} steps, {side}, in {duration(found.measured_s)}; load "
        f"{load_average:.1f}."
    )
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found.trial_s.items())
    print(f"A trial takes about {duration(found.one_trial_s)} ({phases} s).")
    final = f"then {duration(found.final_s)} on the test rows"
    print(f"The run takes about {duration(found.run_s)}: {found.trials} trials, {side}, {final}.")
    if found.share_left < 1:
        print(
            f"This counts on early stopping to save {1 - found.share_left:.0%} of the training; a "
            f"run may take a fifth more or less."
        )
    if found.may_be_shorter:
        print(f"It may take less: {found.may_be_shorter}.")
    if options.price is not None:
        print(f"At {options.price:g} an hour, it costs about {found.cost(options.price):.2f}.")
    return 0
