"""The command `hpo import`: an experiment file made of that of another system."""

from __future__ import annotations

import argparse
from pathlib import Path

SOURCES = ("ray-tune", "optuna", "hyperopt", "keras-tuner", "nni")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `hpo import`."""
    command = commands.add_parser(
        "import", help="make an experiment file of one of Katib, W&B or NNI, or of a Python space"
    )
    command.set_defaults(command=_import)
    command.add_argument("file", help="YAML or JSON; or FILE.py:NAME, which is imported (--from)")
    command.add_argument("--from", dest="source", choices=SOURCES, help="library of a Python space")
    command.add_argument("--out", type=Path, metavar="FILE", help="experiment file (NAME-hpo.yaml)")
    command.add_argument("--force", action="store_true", help="overwrite the experiment file")


def _import(options: argparse.Namespace) -> int:
    from hpo_pipeline.cli.init import check_free
    from hpo_pipeline.experiment.loading import read
    from hpo_pipeline.spaces.files import import_file

    draft = import_file(options.file, options.source)
    out: Path = options.out or Path(f"{draft.sections['name']}-hpo.yaml")
    check_free(out, is_forced=options.force)
    out.write_text(draft.text(), "utf-8")
    for title, lines in (("not carried over", draft.lost), ("changed", draft.notes)):
        for line in lines:
            print(f"{title}: {line}")
    count = len(draft.sections["space"])
    print(f"Wrote {out}: {count} {'parameter' if count == 1 else 'parameters'}")
    for fault in read(out)[1]:
        print(f"to do: {fault}")
    return 0
