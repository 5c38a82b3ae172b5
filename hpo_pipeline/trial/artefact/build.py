"""Making the artefact of a trained model, and opening that of a model folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpo_pipeline.data.assets.cache import cache_folder
from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.tasks.kind import Collate, Row
from hpo_pipeline.trial.artefact.onnx_graph import quantise, write_onnx
from hpo_pipeline.trial.artefact.onnx_model import OnnxModel

ONNX_FOLDER = "onnx"
NAMES = {"none": "model.onnx", "int8": "model_int8.onnx"}
"""Files below ONNX_FOLDER, as the Hugging Face Hub and its JavaScript library name them."""
_COMPARED = 64


@dataclass(frozen=True)
class Artefact:
    """What is served.

    Attributes:
        model: called with the tensors of a batch, it gives an object with `logits`.
        size_mb: megabytes of the weights' files.
        drift: the largest distance of an output from that of the trained model.
    """

    model: Any
    size_mb: float
    drift: float = 0.0


def build_artefact(
    model: Any, serve: Serve, folder: Path, rows: Sequence[Row], collate: Collate, threads: int
) -> Artefact:
    """Make the artefact of a trained model, which its folder already holds.

    Args:
        model: in evaluation mode; for bf16 its weights are changed.
        rows: some real ones, on which the artefact is compared with the model.
        threads: where `serve` names none.

    Raises:
        TrialError: it cannot be exported, or its outputs are too far from those of the model.
    """
    batch = _inputs(model, collate(list(rows[:_COMPARED])))
    with torch.inference_mode():
        expected = model(**batch).logits.float()
    if serve.format == "onnx":
        _write(model, serve, folder, {name: value[:2].cpu() for name, value in batch.items()})
    elif serve.quantize == "bf16":
        model.to(torch.bfloat16)
        model.save_pretrained(str(folder))
    found = open_artefact(model, serve, folder, threads)
    with torch.inference_mode():
        moved = {name: value.to(found.model.device) for name, value in batch.items()}
        logits = found.model(**moved).logits.float()
    drift = float((logits.cpu() - expected.cpu()).abs().max())
    limit = serve.allowed_drift
    if limit is not None and not drift <= limit:
        raise TrialError(
            f"serve: the outputs of the artefact are up to {drift:.2g} from those of the model, "
            f"and {limit:g} is allowed (serve.max_drift)"
        )
    return Artefact(found.model, found.size_mb, drift)


def forget_artefacts(folder: Path, kept: Serve) -> None:
    """Remove the files of all artefacts but one."""
    for quantize, name in NAMES.items():
        if (kept.format, kept.quantize) != ("onnx", quantize):
            (folder / ONNX_FOLDER / name).unlink(missing_ok=True)
    if kept.format != "onnx" and (folder / ONNX_FOLDER).is_dir():
        (folder / ONNX_FOLDER).rmdir()


def open_artefact(model: Any, serve: Serve, folder: Path, threads: int) -> Artefact:
    """Open the artefact of a model folder; `model` is what transformers loaded from it.

    Raises:
        DataError: the folder has no such artefact, or it cannot be run.
    """
    if serve.format == "torch":
        if serve.quantize == "bf16":
            model.to(torch.bfloat16)
        return Artefact(model, _megabytes(folder.glob("*.safetensors")))
    file = folder / ONNX_FOLDER / NAMES[serve.quantize]
    if not file.is_file():
        raise DataError(f"{folder}: has no {ONNX_FOLDER}/{file.name}, which serve asks for")
    opened = OnnxModel(file, model.config, serve.threads or threads)
    return Artefact(opened, _megabytes([file]))


def _write(model: Any, serve: Serve, folder: Path, inputs: Mapping[str, Any]) -> None:
    file = folder / ONNX_FOLDER / NAMES[serve.quantize]
    # Beside the other artefact, which another variant of the trial may have made.
    whole = file if serve.quantize == "none" else file.with_name("unquantised.onnx")
    device = model.device
    write_onnx(model.to("cpu").eval(), inputs, whole, cache_folder() / "graphs")
    model.to(device)
    if whole != file:
        quantise(whole, file)
        whole.unlink()


def _inputs(model: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model takes of a batch, without the labels, on its device."""
    known = inspect.signature(model.forward).parameters
    return {
        name: value.to(model.device)
        for name, value in batch.items()
        if name in known and name != "labels"
    }


def _megabytes(files: Any) -> float:
    return float(sum(file.stat().st_size for file in files)) / 1e6
