"""The commands of `hpo` for experiments on a cluster: render, doctor, attach, stop, delete, katib.

Part of the command line: reads arguments, calls a stage, prints what it gave.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_pipeline.cli.running import run_and_show
from hpo_pipeline.cli.serving import add_serving, render_serving
from hpo_pipeline.errors import BackendError, ExperimentError

if TYPE_CHECKING:
    from hpo_pipeline.engines.katib.engine import KatibEngine
    from hpo_pipeline.engines.kubernetes.api import KubernetesApi
    from hpo_pipeline.experiment.schema import Experiment

NAMESPACE = "hpo"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `hpo`."""
    render = commands.add_parser(
        "render", help="print an experiment, or what serves its model, as Kubernetes objects"
    )
    render.set_defaults(command=_render)
    render.add_argument(
        "file", type=Path, nargs="?", help="experiment file; with --serving its section cluster"
    )
    add_serving(render)
    add_changes(render)
    render.add_argument(
        "--without-token",
        action="store_true",
        help="print no Secret, for files that go into git; the stopping service then accepts "
        "reports from any pod that names the trial",
    )

    doctor = commands.add_parser("doctor", help="look whether a cluster can run an experiment")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("file", type=Path, help="experiment file")
    add_changes(doctor)
    _add_context(doctor)

    for name, command, text in (
        ("attach", _attach, "come back to an experiment in a cluster"),
        ("stop", _stop, "end an experiment in a cluster early, keeping its results"),
        ("delete", _delete, "remove an experiment from a cluster, with its trials"),
    ):
        parser = commands.add_parser(name, help=text)
        parser.set_defaults(command=command)
        parser.add_argument("name", help="name of the experiment")
        parser.add_argument("--namespace", "-n", default=NAMESPACE, help=f"({NAMESPACE})")
        _add_context(parser)
        if name == "stop":
            parser.add_argument("--reason", default="by hpo stop", help="for the record")
        if name == "delete":
            parser.add_argument(
                "--with-storage",
                action="store_true",
                help="delete the run's results and models in the storage too; datasets and "
                "registered models are kept",
            )
            parser.add_argument("--yes", action="store_true", help="do not ask")
        if name == "attach":
            parser.add_argument("--run", type=Path, metavar="FOLDER", help="run folder")
            parser.add_argument("--plain", action="store_true", help="lines, no live table")

    katib = commands.add_parser("katib", help="register our services in Katib, or remove them")
    actions = katib.add_subparsers(required=True, metavar="ACTION")
    for action, text in (
        ("install", "add our algorithms to Katib's configuration"),
        ("uninstall", "take them out again; nothing else is touched"),
        ("status", "tell which of them Katib knows"),
        ("entries", "print what install adds, for GitOps"),
    ):
        parser = actions.add_parser(action, help=text)
        parser.set_defaults(command=_katib, action=action)
        parser.add_argument("--katib-namespace", default="kubeflow", help="(kubeflow)")
        _add_context(parser)
        if action in ("install", "entries"):
            for target in ("suggestion", "suggestion-gp", "stopping"):
                parser.add_argument(f"--{target}-image", help=f"(hpo-{target}:dev)")


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add the options that replace entries of the experiment file."""
    parser.add_argument("--namespace", "-n", help="instead of cluster.namespace")
    parser.add_argument("--image", help="instead of cluster.image")
    parser.add_argument("--trials", type=int, help="instead of budget.trials")
    parser.add_argument("--parallel", type=int, help="instead of budget.parallel")


def load_changed(options: argparse.Namespace) -> Experiment:
    """Return the experiment of a file with the options' changes."""
    from hpo_pipeline.experiment.loading import load

    budget = {"trials": options.trials, "parallel": options.parallel}
    cluster = {"namespace": options.namespace, "image": options.image}
    return load(
        options.file,
        budget={name: value for name, value in budget.items() if value is not None},
        cluster={name: value for name, value in cluster.items() if value is not None},
    )


def print_status(options: argparse.Namespace) -> int:
    """Print the current state of an experiment of a cluster."""
    from hpo_pipeline.cli.output import print_trials
    from hpo_pipeline.engines.katib.lookup import load_experiment

    api = _cluster(options)
    experiment = load_experiment(api, options.namespace, str(options.run))
    result = _engine(experiment, api).status()
    assert result is not None  # it was there a moment ago
    print_trials(experiment, result, as_json=options.json)
    return 0


def _render(options: argparse.Namespace) -> int:
    from hpo_pipeline.engines.katib.manifest import as_yaml, manifests, new_token
    from hpo_pipeline.engines.katib.own_code import own_code_note
    from hpo_pipeline.experiment.baseline import NOT_WANTED
    from hpo_pipeline.jobs.baseline import resolved

    if options.serving is not None:
        return render_serving(options)
    if options.file is None:
        raise ExperimentError("hpo render", ["name an experiment file, or a model: --serving NAME"])
    experiment = load_changed(options)
    if (note := own_code_note(experiment)) is not None:
        print(note, file=sys.stderr)
    experiment, baseline = resolved(experiment)
    for said in baseline.notes if baseline.notes != (NOT_WANTED,) else ():
        print(f"baseline: {said}", file=sys.stderr)
    token = None if options.without_token else new_token()
    print(as_yaml(manifests(experiment, token=token)), end="")
    print(
        f"`kubectl apply` runs the search only. To evaluate the best model on the test rows and "
        f"register it, then run:\n"
        f"  hpo attach {experiment.name} --namespace {experiment.cluster.namespace}",
        file=sys.stderr,
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from hpo_pipeline.engines.katib.doctor import examine

    findings = examine(load_changed(options), _cluster(options))
    for finding in findings:
        remedy = f"\n      {finding.remedy}" if finding.remedy else ""
        print(f"{finding.mark:5} {finding.what}{remedy}")
    return 0 if all(finding.is_right for finding in findings) else 1


def _attach(options: argparse.Namespace) -> int:
    from hpo_pipeline.engines.katib.lookup import load_experiment

    api = _cluster(options)
    experiment = load_experiment(api, options.namespace, options.name)
    result = run_and_show(
        "katib",
        experiment,
        options.run or Path("runs") / f"{experiment.name}-katib",
        registry=getattr(options, "registry", None),
        cluster=api,
        is_plain=options.plain,
    )
    return 0 if result.state == "succeeded" else 1


def _stop(options: argparse.Namespace) -> int:
    from hpo_pipeline.engines.katib.lookup import load_experiment

    api = _cluster(options)
    experiment = load_experiment(api, options.namespace, options.name)
    if _engine(experiment, api).stop(options.reason):
        print(f"stopping {options.name}: running trials write their results first")
    else:
        print(f"{options.name} had already ended")
    return 0


def _delete(options: argparse.Namespace) -> int:
    from hpo_pipeline.engines.katib.lookup import delete

    api, name, namespace = _cluster(options), options.name, options.namespace
    kept = "what its trials wrote stays in the storage (--with-storage deletes it)"
    if options.with_storage:
        kept = _delete_storage(options, api)
    if not delete(api, namespace, name):
        raise BackendError(f"{name}: no such experiment in namespace {namespace}")
    print(f"{name} is deleted; {kept}")
    return 0


def _delete_storage(options: argparse.Namespace, api: KubernetesApi) -> str:
    """Delete what a run left in the storage, if the user agrees; return what was deleted."""
    from hpo_pipeline.engines.interruption import Interruption
    from hpo_pipeline.engines.katib.lookup import load_experiment
    from hpo_pipeline.engines.katib.removal import remove_from_storage

    experiment = load_experiment(api, options.namespace, options.name)
    if not options.yes:
        if not sys.stdin.isatty():
            raise BackendError("--with-storage deletes results and models; add --yes to confirm")
        asked = f"Delete {options.name} with all its results and models in the storage? [y/N] "
        if input(asked).strip().lower() not in ("y", "yes"):
            raise BackendError("nothing was deleted")
    with Interruption().installed() as interruption:
        was_there = remove_from_storage(experiment, api, interruption, say=print)
    return "its folder in the storage too" if was_there else "it had nothing in the storage"


def _katib(options: argparse.Namespace) -> int:
    from hpo_pipeline.engines.katib import install
    from hpo_pipeline.experiment.stopping import RULES

    images = {
        target: getattr(options, f"{target.replace('-', '_')}_image", None)
        for target in install.IMAGES
    }
    given = {target: image for target, image in images.items() if image}
    if options.action == "entries":
        from hpo_pipeline.engines.katib.manifest import as_yaml

        print(as_yaml([install.entries(given)]), end="")
        return 0
    api, namespace = _cluster(options), options.katib_namespace
    if options.action == "status":
        searches, rules = install.known_algorithms(install.configuration(api, namespace))
        ours = [*install.SEARCHES, *RULES]
        known = {name.removeprefix("hpo-") for name in searches | rules if name[:4] == "hpo-"}
        print(f"known: {', '.join(sorted(known)) or 'none'}")
        print(f"missing: {', '.join(name for name in ours if name not in known) or 'none'}")
        return 0 if known >= set(ours) else 1
    if options.action == "install":
        changed = install.install(api, namespace, given)
        print("Katib knows our algorithms" if changed else "Katib knew them already")
    else:
        changed = install.uninstall(api, namespace)
        print("our algorithms are taken out" if changed else "there were none of ours")
    return 0


def _engine(experiment: Experiment, api: KubernetesApi) -> KatibEngine:
    from hpo_pipeline.engines import RunContext
    from hpo_pipeline.engines.katib.engine import KatibEngine
    from hpo_pipeline.reports.terminal import PlainLines
    from hpo_pipeline.results.run_folder import RunFolder

    folder = RunFolder(Path("runs") / f"{experiment.name}-katib")
    progress = PlainLines(experiment, sys.stderr)
    return KatibEngine(RunContext(experiment, folder, progress, cluster=api))


def _cluster(options: argparse.Namespace) -> KubernetesApi:
    from hpo_pipeline.engines.kubernetes.api import KubernetesApi

    return KubernetesApi(options.context)


def _add_context(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--context", help="context of the kubeconfig")
