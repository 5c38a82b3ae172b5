"""`hpo render --serving NAME`: a registered model as a KServe InferenceService."""

from __future__ import annotations

import argparse
import sys

from hpo_pipeline.errors import ExperimentError, RegistryError


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
