"""PyTorch to ONNX: exported once for an architecture, then only filled with other weights.

An export takes seconds, most of them to trace the model and to optimise its graph, which depend on
the config alone. So the graph is kept, with a note of which weight each of its tensors came from.
A caller compares the graph's outputs with those of the model; a graph that cannot be filled
is exported anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from hpo_pipeline.errors import TrialError
from hpo_pipeline.tasks.inputs.base_config import one_line

OUTPUT = "logits"
_LABELS = ("id2label", "label2id", "_name_or_path", "transformers_version", "architectures")
MISSING = (
    "serve.format: onnx needs the packages of the extra `serve`: pip install hpo-pipeline[serve]"
)


def write_onnx(model: Any, inputs: Mapping[str, Any], file: Path, cache: Path) -> None:
    """Write a model as ONNX, with the sizes of batches and of token rows left open.

    Args:
        model: of transformers, on the CPU, in evaluation mode.
        inputs: a batch of two rows or more, without labels.
        cache: the folder of the graphs that were exported before.

    Raises:
        TrialError: the packages are missing, or an operation of the model cannot be exported.
    """
    try:
        import onnx
    except ImportError as error:
        raise TrialError(MISSING) from error
    graph = _known_graph(model, inputs, cache)
    if graph is None:
        graph = _exported(model, inputs)
        _keep(graph, model, inputs, cache)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, str(file))


def quantise(file: Path, out: Path) -> None:
    """Write an ONNX model with its weights as 8 bit integers, scaled as it runs.

    Raises:
        TrialError: an operation cannot be quantised.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a step that changes nothing here
    try:
        quantize_dynamic(str(file), str(out), weight_type=QuantType.QInt8)
    # The library raises whatever its graph surgery runs into.
    except Exception as error:
        raise TrialError(f"serve.quantize: int8 failed: {one_line(error)}") from error
    finally:
        root.setLevel(level)


class _Positional(torch.nn.Module):
    """The logits of a model whose inputs come in a fixed order, which is what exporters want."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *values: Any) -> Any:
        return self.model(**dict(zip(self.names, values, strict=True))).logits


def _exported(model: Any, inputs: Mapping[str, Any]) -> Any:
    open_size = torch.export.Dim.DYNAMIC
    shapes = [
        # Tokens come in rows of any length; of an image only the number is open.
        {0: open_size, 1: open_size} if value.dim() == 2 else {0: open_size}
        for value in inputs.values()
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on operators of packages that are not there
            program = torch.onnx.export(
                _Positional(model, list(inputs)).eval(),
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_shapes=(tuple(shapes),),
                verbose=False,
            )
    # Whatever a model does that cannot be traced, the trial says so.
    except Exception as error:
        raise TrialError(
            f"serve.format: onnx: the model cannot be exported: {one_line(error)}"
        ) from error
    assert program is not None
    return program.model_proto


def _key(model: Any, inputs: Mapping[str, Any]) -> str:
    config = {n: v for n, v in model.config.to_dict().items() if n not in _LABELS}
    versions = [torch.__version__, transformers.__version__]
    shapes = {name: value.dim() for name, value in inputs.items()}
    content = [type(model).__name__, model.config.num_labels, config, shapes, versions]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _keep(graph: Any, model: Any, inputs: Mapping[str, Any], cache: Path) -> None:
    """Keep a graph without its weights, and say of each where it came from.

    Where that cannot be written, the next trial exports its model itself.
    """
    origins = _origins(graph, model)
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    for tensor in bare.graph.initializer:
        if tensor.name in origins:
            tensor.ClearField("raw_data")
    place = cache / _key(model, inputs)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for suffix, content in (
            (".onnx", bare.SerializeToString()),
            (".json", json.dumps(origins).encode()),
        ):
            draft = cache / f".{place.name}.{os.getpid()}{suffix}"
            draft.write_bytes(content)
            draft.replace(place.with_suffix(suffix))
    except OSError:
        return


def _known_graph(model: Any, inputs: Mapping[str, Any], cache: Path) -> Any:
    """Return the graph of the same architecture with these weights, or None."""
    import onnx

    place = cache / _key(model, inputs)
    try:
        origins = json.loads(place.with_suffix(".json").read_bytes())
        graph = onnx.load_from_string(place.with_suffix(".onnx").read_bytes())
    except (OSError, ValueError, onnx.onnx_cpp2py_export.checker.ValidationError):
        return None
    weights = model.state_dict()
    for tensor in graph.graph.initializer:
        if tensor.name not in origins:
            continue
        name, is_turned = origins[tensor.name]
        weight = weights.get(name)
        if weight is None:
            return None
        array = weight.detach().float().cpu().numpy()
        array = array.T if is_turned else array
        if list(array.shape) != list(tensor.dims):
            return None
        tensor.raw_data = np.ascontiguousarray(array).tobytes()
    return graph


def _origins(graph: Any, model: Any) -> dict[str, tuple[str, bool]]:
    """Return for each tensor of a graph which weight it is, and whether it is transposed."""
    from onnx import numpy_helper

    known: dict[tuple[tuple[int, ...], bytes], tuple[str, bool]] = {}
    for name, weight in model.state_dict().items():
        array = weight.detach().cpu().numpy()
        if array.dtype != np.float32 or array.size < 2:
            continue
        known.setdefault((array.shape, _digest(array)), (name, False))
        if array.ndim == 2:
            known.setdefault((array.T.shape, _digest(array.T)), (name, True))
    found = {}
    for tensor in graph.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if origin := known.get((array.shape, _digest(array))):
            found[tensor.name] = origin
    return found


def _digest(array: Any) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).digest()
