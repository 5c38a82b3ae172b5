"""The command line `hpo`: reads arguments, calls a stage, prints what it gave."""

from __future__ import annotations

import argparse
import difflib
import gc
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpo_pipeline.cli import (
    cluster,
    comparing,
    dashboard,
    estimate,
    importing,
    init,
    models,
    pipeline,
    predict,
    schedule,
    serving,
    tracking,
    ui,
    watching,
)
from hpo_pipeline.cli.running import LOG_FORMATS, run_and_show
from hpo_pipeline.engines import ENGINES
from hpo_pipeline.errors import ExperimentError, HpoError

if TYPE_CHECKING:
    from hpo_pipeline.experiment.schema import Experiment

RUNS = Path("runs")
EXIT_CODES = """\
exit codes:
  0    done
  1    the search failed, or could not continue
  2    the input is wrong: the experiment, its data, or the arguments
  130  interrupted by Ctrl-C; the same command resumes
  143  interrupted by SIGTERM; the same command resumes
"""
RESUME = "Run the same command to resume: finished trials are kept, interrupted ones are rerun."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are printed without a traceback."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries become one error
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except HpoError as error:
        print(f"hpo: {error}", file=sys.stderr)
        if error.exit_code > 128 and not getattr(error, "has_advice", False):
            print(RESUME, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("hpo: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output, `head` for instance, has gone
        return 0
    except OSError as error:
        print(f"hpo: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1


class Parser(argparse.ArgumentParser):
    """A parser that suggests the nearest choice where a command is unknown."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if found:
            choices = re.findall(r"[\w.-]+", found[2])
            near = difflib.get_close_matches(found[1], choices, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            message = f"unknown {found[1]!r}; {hint}There are: {', '.join(choices)}"
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="hpo",
        description="Hyperparameter optimisation of transformers by practical metrics.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init.add_commands(commands)
    importing.add_commands(commands)
    estimate.add_commands(commands)

    run = commands.add_parser("run", help="run an experiment, or resume its run")
    run.set_defaults(command=_run)
    run.add_argument("file", type=Path, help="experiment file")
    run.add_argument("--run", type=Path, metavar="FOLDER", help="run folder (runs/NAME)")
    run.add_argument("--registry", metavar="URI", help="where models are registered (models)")
    run.add_argument("--plain", action="store_true", help="lines instead of the live table")
    run.add_argument("--log-format", choices=LOG_FORMATS, default="text", help="(text)")
    run.add_argument("--engine", choices=tuple(ENGINES), default="local", help="(local)")
    run.add_argument("--context", help="context of the kubeconfig, for Katib")
    cluster.add_changes(run)
    watching.add_run_options(run)

    check = commands.add_parser("check", help="find all faults of an experiment file")
    check.set_defaults(command=_check)
    check.add_argument("file", type=Path, help="experiment file")
    check.add_argument(
        "--smoke", action="store_true", help="train two steps on a few rows, and list the metrics"
    )

    schema = commands.add_parser("schema", help="print the JSON Schema of experiment files")
    schema.set_defaults(command=_schema)

    status = commands.add_parser("status", help="show a run")
    status.set_defaults(command=_status)
    _add_run(status)
    status.add_argument("--json", action="store_true", help="for machines")
    status.add_argument("--engine", choices=tuple(ENGINES), default="local", help="(local)")
    status.add_argument("--namespace", "-n", default="hpo", help="of the cluster, for Katib")
    status.add_argument("--context", help="context of the kubeconfig, for Katib")

    show = commands.add_parser("show", help="show one trial")
    show.set_defaults(command=_show)
    show.add_argument("trial", help="its name or number")
    show.add_argument("run", type=Path, nargs="?", help="run folder (the latest below runs/)")

    report = commands.add_parser("report", help="write the report of a run")
    report.set_defaults(command=_report)
    _add_run(report)
    report.add_argument("--out", type=Path, help="file (report.html in the run folder)")

    prepare = commands.add_parser("prepare", help="prepare the data of an experiment")
    prepare.set_defaults(command=_prepare)
    prepare.add_argument("file", type=Path, help="experiment file")
    prepare.add_argument("--datasets", type=Path, help="folder of all datasets (in the cache)")

    completion = commands.add_parser("completion", help="print shell completion for hpo")
    completion.set_defaults(command=_completion)
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))

    cluster.add_commands(commands)
    pipeline.add_commands(commands)
    schedule.add_commands(commands)
    watching.add_commands(commands)
    tracking.add_commands(commands)
    comparing.add_commands(commands)
    dashboard.add_commands(commands)
    ui.add_commands(commands)
    _add_assets(commands)
    models.add_commands(commands)
    serving.add_commands(commands)
    predict.add_commands(commands)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="?", help="run folder (the latest below runs/)")


def _add_assets(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    assets = commands.add_parser("assets", help="list and fetch models and data")
    assets.set_defaults(command=_assets, action="list")
    actions = assets.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="list them").set_defaults(action="list")
    for action, text in (("fetch", "fetch some, or all"), ("verify", "hash all files again")):
        sub = actions.add_parser(action, help=text)
        sub.set_defaults(action=action)
        sub.add_argument("names", nargs="*", help="all, if none is named")


def _run(options: argparse.Namespace) -> int:
    experiment = cluster.load_changed(options)
    name = experiment.name if options.engine == "local" else f"{experiment.name}-{options.engine}"
    result = run_and_show(
        options.engine,
        experiment,
        options.run or RUNS / name,
        source=options.file,
        registry=options.registry,
        kube_context=options.context,
        is_plain=options.plain,
        log_format=options.log_format,
        watching=watching.Watching.of(options),
    )
    return 0 if result.state == "succeeded" else 1


def _check(options: argparse.Namespace) -> int:
    from hpo_pipeline.experiment.checks.notes import notes, size_text
    from hpo_pipeline.experiment.loading import read

    experiment, faults, sections = read(options.file)
    gc.disable()  # it would look through all that torch imports: a sixth of the command's time
    from hpo_pipeline.jobs.baseline import baseline_line
    from hpo_pipeline.jobs.check import argument_faults

    faults += argument_faults(sections)
    faults += models.registry_faults(sections.get("register_"))
    if faults or experiment is None:
        raise ExperimentError(str(options.file), faults)
    for note in (*notes(experiment), *models.registry_notes(experiment.register_)):
        print(f"note: {note}")
    for section, choice in experiment.choices().items():
        print(f"{section}.algorithm: auto is {choice}")
    print(baseline_line(experiment))
    size = size_text(experiment.problem)
    points = "" if size is None else f", {size}"
    count = len(experiment.space)
    print(f"{options.file}: no faults; {count} parameter{'s' * (count != 1)}{points}")
    if options.smoke:
        _smoke(experiment, str(options.file))
    return 0


def _smoke(experiment: Experiment, source: str) -> None:
    """Train two steps, and find objectives that read what no trial reports."""
    import tempfile

    from hpo_pipeline.data.assets import cache_folder
    from hpo_pipeline.data.prepare_once import prepared_once
    from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS, SCORE
    from hpo_pipeline.trial.smoke import smoke

    dataset = prepared_once(experiment, cache_folder() / "datasets")
    with tempfile.TemporaryDirectory() as folder:
        found = smoke(experiment, dataset, Path(folder))
    print(f"two training steps on a few rows: metrics {', '.join(sorted(found))}")
    has_own = getattr(experiment.task.settings, "measure", None) is not None
    missing = experiment.reads - {*found, *PRACTICAL_METRICS, SCORE}
    if missing and not has_own:
        raise ExperimentError(source, [f"no trial reports {', '.join(sorted(missing))}"])


class _Version(argparse.Action):
    """Print the version, which is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any) -> None:
        from importlib.metadata import version

        print(f"hpo {version('hpo-pipeline')}")
        parser.exit()


def _completion(options: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(_parser(), options.shell))
    return 0


def _schema(options: argparse.Namespace) -> int:
    from hpo_pipeline.experiment.schema import Experiment

    print(json.dumps(Experiment.model_json_schema(by_alias=True), indent=2))
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from hpo_pipeline.data.assets import prepared_folder
    from hpo_pipeline.data.prepare_once import prepared_once
    from hpo_pipeline.data.prepared.dataset import DatasetMeta
    from hpo_pipeline.data.progress import ProgressLine
    from hpo_pipeline.experiment.loading import load

    datasets = options.datasets or prepared_folder()
    folder = prepared_once(load(options.file), datasets, ProgressLine())
    for note in DatasetMeta.read(folder).notes:
        print(note, file=sys.stderr)  # the output is the folder alone, for scripts
    print(folder)
    return 0


def _status(options: argparse.Namespace) -> int:
    if options.engine == "katib":
        if options.run is None:
            raise ExperimentError("hpo status", ["--engine katib needs the name of an experiment"])
        return cluster.print_status(options)
    from hpo_pipeline.cli.output import print_result
    from hpo_pipeline.results.run_folder import RunFolder, latest

    folder = RunFolder(options.run or latest(RUNS))
    result = folder.result()
    if options.json:
        print(json.dumps(result.summary(), indent=2))
    else:
        print_result(folder.experiment(), folder, result)
    return 0


def _show(options: argparse.Namespace) -> int:
    from hpo_pipeline.cli.output import print_trial
    from hpo_pipeline.results.run_folder import RunFolder, latest

    folder = RunFolder(options.run or latest(RUNS))
    print_trial(folder.experiment(), folder, options.trial)
    return 0


def _report(options: argparse.Namespace) -> int:
    from hpo_pipeline.reports.html import write_report
    from hpo_pipeline.results.run_folder import RunFolder, latest

    folder = RunFolder(options.run or latest(RUNS))
    out = options.out or folder.report
    write_report(folder.experiment(), folder.result(), out, run_info=folder.info())
    print(out)
    return 0


def _assets(options: argparse.Namespace) -> int:
    from hpo_pipeline.cli.output import print_assets
    from hpo_pipeline.data import assets

    names = getattr(options, "names", None) or [
        name for name, asset in assets.ASSETS.items() if not asset.is_built_in
    ]
    if options.action == "list":
        print_assets()
        return 0
    for name in names:
        if name in assets.ASSETS and assets.ASSETS[name].is_built_in:
            print(f"{name}: built in, there is nothing to {options.action}")
        elif options.action == "fetch":
            print(f"{name}: {assets.fetch(name)}")
        else:
            assets.verify(name)
            print(f"{name}: every file is as it must be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
