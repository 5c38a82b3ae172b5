"""The command `hpo models`, and what `hpo check` says of the registry of an experiment."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hpo_pipeline.errors import RegistryError

if TYPE_CHECKING:
    from hpo_pipeline.experiment.register import Register


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `hpo models` and its actions."""
    models = commands.add_parser("models", help="show, promote and roll back registered models")
    models.set_defaults(command=_models, action="list", registry=None)
    # Before the action and after it: the second must not reset the first.
    place = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    place.add_argument("--registry", metavar="URI", help="where models are registered (models)")
    models.add_argument("--registry", metavar="URI", help="where models are registered (models)")
    actions = models.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="list them", parents=[place]).set_defaults(action="list")
    for action, text in (
        ("show", "show the versions of a model"),
        ("history", "show what happened to a model"),
        ("rollback", "make the previous champion champion again"),
    ):
        sub = actions.add_parser(action, help=text, parents=[place])
        sub.set_defaults(action=action)
        sub.add_argument("name")
    promote = actions.add_parser(
        "promote", help="make a version champion by hand, without a comparison", parents=[place]
    )
    promote.set_defaults(action="promote")
    promote.add_argument("name")
    promote.add_argument("version", help="its number, or candidate")
    promote.add_argument("--reason", default="", help="for the history")


def registry_faults(section: Register | None) -> list[str]:
    """Return that no registry can be at the address of a file, without contacting it."""
    from hpo_pipeline.registry import check_uri

    if section is None or section.registry is None:
        return []
    try:
        check_uri(section.registry)
    except RegistryError as error:
        return [f"register.registry: {error}"]
    return []


def registry_notes(section: Register | None) -> list[str]:
    """Return what would stop a registration from this machine; a cluster may be able to do it."""
    from hpo_pipeline.registry import preflight

    if section is None:
        return []
    try:
        preflight(of_file=section.registry)
    except RegistryError as error:
        return [f"register.registry: `hpo run` would stop on this machine: {error}"]
    return []


def _models(options: argparse.Namespace) -> int:
    from hpo_pipeline.cli.output import print_history, print_models, print_versions
    from hpo_pipeline.registry import open_registry

    registry = open_registry(options.registry)
    if options.action == "list":
        print_models(registry)
    elif options.action == "show":
        print_versions(registry, options.name)
    elif options.action == "history":
        print_history(registry, options.name)
    elif options.action == "promote":
        from hpo_pipeline.registry.registration import promote_by_hand

        reason = options.reason
        record = promote_by_hand(registry, options.name, options.version, reason=reason)
        print(f"{record.name}: version {record.version} is champion")
    else:
        record = registry.rollback(options.name)
        print(f"{record.name}: version {record.version} is champion again")
    return 0
