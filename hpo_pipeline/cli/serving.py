"""A finished model, served: `hpo measure`, `hpo serve`, and `hpo render --serving` for KServe."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.errors import DataError, ExperimentError, RegistryError

if TYPE_CHECKING:
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.registry.record import ModelRecord
    from hpo_pipeline.trial.measuring.remeasure import Remeasured

MAX_THREADS, MAX_BATCH = 1024, 4096


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `hpo`."""
    measure = commands.add_parser("measure", help="measure a finished model on this machine")
    measure.set_defaults(command=_measure)
    _add_model(measure)
    measure.add_argument(
        "--rows", type=Path, metavar="FILE", help="texts of requests: one a line, or JSON lines"
    )
    measure.add_argument("--threads", type=_count(MAX_THREADS), help="of a request")
    measure.add_argument("--batch", type=_count(MAX_BATCH), help="rows of a request")
    measure.add_argument(
        "--lengths", type=int, nargs=2, metavar=("SHORTEST", "LONGEST"), help="tokens of a request"
    )
    measure.add_argument("--json", action="store_true", help="for machines")

    serve = commands.add_parser("serve", help="answer requests to a finished model, to try it")
    serve.set_defaults(command=_serve)
    _add_model(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    serve.add_argument("--port", type=int, default=8080, help="(8080; 0 takes a free one)")
    serve.add_argument("--name", default="model", help="of the model, in the address (model)")
    serve.add_argument("--threads", type=_count(MAX_THREADS), help="of a request")
    serve.add_argument("--no-measure", action="store_true", help="start at once, without figures")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder, or a registered model: NAME, or NAME@VERSION")
    parser.add_argument("--registry", metavar="URI", help="where models are registered (models)")


def _count(most: int) -> Any:
    def count(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be a number from 1 to {most}, got {text!r}")
        return int(text)

    return count


@contextmanager
def model_folder(model: str, registry: str | None) -> Iterator[Path]:
    """Give the folder of a model: the one that is named, or that of a registered version.

    Raises:
        DataError: it is no folder of a model, and no name of a registered one.
        RegistryError: there is no such model or version.
    """
    from hpo_pipeline.registry.lookup import model_folder as found

    with tempfile.TemporaryDirectory() as scratch:
        yield found(model, Path(scratch), registry)


def _measure(options: argparse.Namespace) -> int:
    with model_folder(options.model, options.registry) as folder:
        from hpo_pipeline.trial.measuring.remeasure import read_texts, remeasure

        texts = read_texts(options.rows) if options.rows else ()
        lengths = _lengths(options.lengths)
        found = remeasure(
            folder, texts=texts, threads=options.threads, batch=options.batch, lengths=lengths
        )
    if options.json:
        print(json.dumps([_as_json(each) for each in found], indent=2))
    else:
        _print(found)
    return 0


def _lengths(given: Sequence[int] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    shortest, longest = given
    if not 1 <= shortest <= longest:
        raise DataError(f"--lengths: must be the shortest and the longest, got {given}")
    return shortest, longest


def _as_json(each: Remeasured) -> dict[str, Any]:
    return {
        "artefact": each.serve.title,
        "serve": each.serve.model_dump(),
        "metrics": each.found.metrics,
        "intervals": each.found.intervals,
        "machine": each.machine,
    }


def _print(found: Sequence[Remeasured]) -> None:
    from rich.console import Console
    from rich.table import Table

    from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
    from hpo_pipeline.reports.formatting import sampled

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    for each in found:
        table.add_column(each.serve.title, justify="right")
    table.add_column("meaning")
    for name in found[0].found.metrics:
        values = (sampled(e.found.metrics[name], e.found.intervals.get(name)) for e in found)
        table.add_row(name, *values, PRACTICAL_METRICS[name].description)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(table)
    machine = ", ".join(f"{name} {value}" for name, value in found[0].machine.items())
    console.print(f"in brackets: 95 % intervals; measured on {machine}", soft_wrap=True)


def _serve(options: argparse.Namespace) -> int:
    with model_folder(options.model, options.registry) as folder:
        from hpo_pipeline.tasks import TASKS
        from hpo_pipeline.trial.answering.http_server import Figures, Settings, serve
        from hpo_pipeline.trial.answering.predictor import Reading, open_predictor, task_of
        from hpo_pipeline.trial.artefact.record import read_record
        from hpo_pipeline.trial.measuring.remeasure import remeasure

        task = task_of(folder, Reading())
        if not TASKS[task.kind].has_text:
            raise DataError(f"{folder}: takes images; `hpo predict` answers them from files")
        threads = options.threads or read_record(folder).threads
        predictor = open_predictor(folder, task, threads=threads)
        figures: Figures = {}
        # The time of a model of many passes depends on the request: a run measures it on its rows.
        if not options.no_measure and TASKS[task.kind].exports:
            served = remeasure(folder, threads=options.threads)[0]
            figures = served.found.metrics
        settings = Settings(options.host, options.port, options.name)
        return serve(predictor, settings, figures)


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Add the options of a model to `hpo render`."""
    parser.add_argument("--serving", metavar="NAME", help="print what serves a registered model")
    parser.add_argument(
        "--canary", type=int, metavar="PERCENT", help="of the requests go to the candidate"
    )
    parser.add_argument("--registry", metavar="URI", help="where models are registered (models)")
    parser.add_argument(
        "--storage-uri", metavar="URI", help="where the cluster finds the model's folder"
    )


def render_serving(options: argparse.Namespace) -> int:
    """Print the InferenceService of the champion, or of the candidate as a canary.

    Raises:
        ExperimentError: the percentage is none.
        DataError: the model takes images.
        RegistryError: there is no such model or version, or KServe cannot fetch it.
    """
    from hpo_pipeline.engines.katib.manifest import as_yaml
    from hpo_pipeline.engines.kubernetes.inference_service import Serving, inference_service
    from hpo_pipeline.experiment.cluster import Cluster
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.registry import open_registry

    canary = options.canary
    if canary is not None and not 1 <= canary <= 100:
        raise ExperimentError("hpo render", [f"--canary: must be 1 to 100, got {canary}"])
    experiment = load(options.file) if options.file is not None else None
    cluster = experiment.cluster if experiment else Cluster()
    given = {"namespace": options.namespace, "image": options.image}
    cluster = Cluster.model_validate(
        {**cluster.model_dump(), **{name: value for name, value in given.items() if value}}
    )
    registry = open_registry(options.registry)
    if canary is None:
        record = registry.champion(options.serving)
        if record is None:
            raise RegistryError(f"{options.serving}: has no champion; see `hpo models show`")
    else:
        record = registry.get(options.serving, "candidate")
    _require_texts(record, experiment)
    service = inference_service(
        record,
        Serving(
            canary=canary,
            storage=options.storage_uri,
            cluster=cluster,
            node_selector=experiment.serve.node_selector if experiment else {},
        ),
    )
    print(as_yaml([service]), end="")
    said = f"{record.name} version {record.version}, trial {record.trial}"
    if canary is not None:
        said += (
            f": {canary} % of the requests; the revision that runs now keeps the others. KServe "
            f"splits them in its serverless mode only"
        )
    print(said, file=sys.stderr)
    return 0


def _require_texts(record: ModelRecord, experiment: Experiment | None) -> None:
    """Refuse a model that `hpo serve` would refuse in its pod, as far as that is known here.

    Raises:
        DataError: it takes images.
    """
    from hpo_pipeline.registry.record import local_path
    from hpo_pipeline.tasks import TASKS
    from hpo_pipeline.trial.artefact.record import read_record

    kind = experiment.task.kind if experiment else None
    if record.model_uri.startswith("file://"):
        kind = read_record(local_path(record.model_uri)).kind or kind
    if kind in TASKS and not TASKS[kind].has_text:
        raise DataError(
            f"{record.name} version {record.version}: takes images, which `hpo serve` does not "
            f"answer; `hpo predict` answers them from files"
        )
