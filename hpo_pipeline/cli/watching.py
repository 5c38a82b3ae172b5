"""What shows runs to others as they happen: `hpo exporter`, and the options of `hpo run`."""

from __future__ import annotations

import argparse
import os
import re
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_pipeline.cli.schedule import CLUSTER_ZONE
from hpo_pipeline.errors import MonitoringError

if TYPE_CHECKING:
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.monitoring.collector import Source
    from hpo_pipeline.monitoring.katib_cache import KatibCache
    from hpo_pipeline.monitoring.poll import Poll
    from hpo_pipeline.reports.terminal import Progress

PORT = 9464
NOTIFY_VARIABLE = "HPO_NOTIFY_URL"
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Watched:
    """A progress to run with, and the function that takes the state in which the run ended."""

    progress: Progress
    ended: Callable[[str, str | None], None] = lambda state, reason: None


@dataclass(frozen=True)
class Watching:
    """How a run is shown to others: the options of `hpo run`."""

    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    metrics_file: Path | None = None
    notify: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, options: argparse.Namespace) -> Watching:
        """Return what the options of `hpo run` say."""
        notify = options.notify or os.environ.get(NOTIFY_VARIABLE) or None
        return cls(options.metrics_port, options.metrics_host, options.metrics_file, notify)

    @contextmanager
    def watched(
        self, progress: Progress, experiment: Experiment, folder: Path
    ) -> Iterator[Watched]:
        """Show a run while the block runs; an exception that leaves it is how the run ended.

        Raises:
            MonitoringError: the port is in use, the address may not be used, or a package is
                missing.
        """
        watched = Watched(progress)
        with ExitStack() as stack:
            if self.notify is not None:
                watched = stack.enter_context(_notified(watched, experiment, self.notify))
            if self.metrics_port is not None or self.metrics_file is not None:
                watched = stack.enter_context(self._measured(watched, experiment, folder))
            try:
                yield watched
            except BaseException as error:
                watched.ended(state_of(error), str(error) or type(error).__name__)
                raise

    @contextmanager
    def _measured(
        self, watched: Watched, experiment: Experiment, folder: Path
    ) -> Iterator[Watched]:
        """Serve the metrics of a run, and write their file at its end."""
        _require_client()
        from hpo_pipeline.monitoring.collector import registry_of
        from hpo_pipeline.monitoring.metered_progress import MeteredProgress
        from hpo_pipeline.monitoring.serving import metrics_server, write_textfile

        metered = MeteredProgress(watched.progress, experiment, folder.name)
        registry = registry_of(metered)

        def ended(state: str, reason: str | None) -> None:
            metered.ended(state)
            watched.ended(state, reason)

        with ExitStack() as stack:
            if self.metrics_file is not None:
                write_textfile(registry, self.metrics_file)  # a wrong path is found at once
                stack.callback(write_textfile, registry, self.metrics_file)
            if self.metrics_port is not None:
                port = stack.enter_context(
                    metrics_server(registry, host=self.metrics_host, port=self.metrics_port)
                )
                metered.say(f"metrics at http://{self.metrics_host}:{port}/metrics")
            yield Watched(metered, ended)


@contextmanager
def _notified(watched: Watched, experiment: Experiment, url: str) -> Iterator[Watched]:
    """Post the start and the end of a run to a webhook."""
    from hpo_pipeline.monitoring.notices import NotifyingProgress, Webhook, check_webhook

    webhook = Webhook(check_webhook(url), watched.progress.say)
    webhook.start()
    notifying = NotifyingProgress(watched.progress, experiment, webhook.post)

    def ended(state: str, reason: str | None) -> None:
        notifying.ended(state, reason)
        watched.ended(state, reason)

    try:
        yield Watched(notifying, ended)
    finally:
        webhook.close()


def state_of(error: BaseException) -> str:
    """Return the state in which an error ends a run."""
    from hpo_pipeline.engines.interruption import Interrupted

    return "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"


NOBODY = Watching()


def add_run_options(run: argparse.ArgumentParser) -> None:
    """Add the options of `hpo run` that show it to others."""
    run.add_argument("--metrics-port", type=port_number, help="serve Prometheus metrics here")
    run.add_argument("--metrics-host", default="127.0.0.1", help="(127.0.0.1)")
    run.add_argument(
        "--notify",
        metavar="URL",
        help=f"post start and end to a Slack-compatible webhook ({NOTIFY_VARIABLE})",
    )
    run.add_argument(
        "--metrics-file", type=Path, help="write metrics at the end, for a textfile collector"
    )


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `hpo`."""
    exporter = commands.add_parser("exporter", help="serve Prometheus metrics of many experiments")
    exporter.set_defaults(command=_exporter)
    exporter.add_argument(
        "runs", type=Path, nargs="?", help="folder of runs; without it, those of a cluster"
    )
    exporter.add_argument("--port", type=port_number, default=PORT, help=f"({PORT})")
    exporter.add_argument("--host", default="127.0.0.1", help="(127.0.0.1)")
    exporter.add_argument("--namespace", "-n", default="hpo", help="of the cluster (hpo)")
    exporter.add_argument("--all-namespaces", "-A", action="store_true", help="all that it has")
    exporter.add_argument("--context", help="context of the kubeconfig")
    exporter.add_argument("--registry", metavar="URI", help="also export its models")
    exporter.add_argument(
        "--kfp", metavar="URL", help="also export the schedules of this Kubeflow Pipelines"
    )
    exporter.add_argument("--kfp-namespace", metavar="NAME", help="profile ($KFP_NAMESPACE)")
    exporter.add_argument(
        "--cluster-timezone", help=f"time zone of its schedules (${CLUSTER_ZONE}, UTC)"
    )


def port_number(text: str) -> int:
    """Return a TCP port; 0 means any that is free."""
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return int(text)


def _exporter(options: argparse.Namespace) -> int:
    _require_client()
    from hpo_pipeline.engines.interruption import Interruption
    from hpo_pipeline.monitoring.collector import registry_of
    from hpo_pipeline.monitoring.registry_poll import joined, registry_poll
    from hpo_pipeline.monitoring.run_cache import RunCache
    from hpo_pipeline.monitoring.serving import metrics_server

    cache: KatibCache | None = None
    sources: list[Source] = []
    with ExitStack() as stack:
        if options.runs is not None:
            if not options.runs.is_dir():
                raise MonitoringError(f"{options.runs}: there is no such folder of runs")
            sources.append(RunCache(options.runs))
        else:
            cache = _follow_cluster(options)
            stack.callback(cache.stop)
            sources.append(cache)
        if options.registry:
            from hpo_pipeline.registry import open_registry

            sources.append(_polled(registry_poll(open_registry(options.registry)), stack))
        if options.kfp:
            sources.append(_polled(_schedule_poll(options), stack))
        is_ready = cache.is_ready if cache else lambda: True
        registry = registry_of(joined(*sources))
        server = metrics_server(registry, host=options.host, port=options.port, is_ready=is_ready)
        port = stack.enter_context(server)
        interruption = stack.enter_context(Interruption().installed())
        print(f"metrics at http://{options.host}:{port}/metrics; Ctrl-C ends it", flush=True)
        while not select.select([interruption.wake], [], [], LOOK_SECONDS)[0]:
            if cache is not None and cache.fault is not None:
                raise MonitoringError(
                    f"{cache.fault}; the exporter must list and watch experiments and trials: "
                    f"kubectl apply -k manifests/monitoring"
                )
    return 0


def _polled(poll: Poll, stack: ExitStack) -> Poll:
    """Start a poll, which ends with the stack."""
    poll.start()
    stack.callback(poll.stop)
    return poll


def _schedule_poll(options: argparse.Namespace) -> Poll:
    """Return a poll of the schedules of Kubeflow Pipelines."""
    from hpo_pipeline.kubeflow.api import Kfp
    from hpo_pipeline.kubeflow.schedule.cron import zone
    from hpo_pipeline.kubeflow.schedule.overdue import overdue
    from hpo_pipeline.monitoring.collector import Reading
    from hpo_pipeline.monitoring.poll import Poll
    from hpo_pipeline.monitoring.snapshot import ScheduleSnapshot

    kfp = Kfp(options.kfp, namespace=options.kfp_namespace)
    name = options.cluster_timezone or os.environ.get(CLUSTER_ZONE) or "UTC"
    where = zone(name, "--cluster-timezone")

    def ask() -> Reading:
        found = [
            ScheduleSnapshot(
                one.name, one.is_on, one.missed, one.last_run.timestamp() if one.last_run else None
            )
            for one in overdue(kfp, where)
        ]
        return Reading(schedules=found)

    return Poll("schedules", ask)


def _follow_cluster(options: argparse.Namespace) -> KatibCache:
    from hpo_pipeline.engines.kubernetes.api import KubernetesApi
    from hpo_pipeline.monitoring.katib_cache import KatibCache

    namespace = "" if options.all_namespaces else options.namespace
    cache = KatibCache(KubernetesApi(options.context), namespace)
    cache.start()
    return cache


def _require_client() -> None:
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise MonitoringError(
            "metrics need the package prometheus-client: pip install 'hpo-pipeline[exporter]'"
        ) from error
