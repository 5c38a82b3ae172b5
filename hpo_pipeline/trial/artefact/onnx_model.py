"""An ONNX model that is called as a model of transformers is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from hpo_pipeline.errors import DataError
from hpo_pipeline.trial.artefact.onnx_graph import MISSING, OUTPUT


class OnnxModel:
    """Runs on the CPU; `logits` are all that it gives.

    Attributes:
        config: that of the model of transformers, for its labels.
        device: where inputs have to be.
    """

    def __init__(self, file: Path, config: Any, threads: int) -> None:
        """Open a file.

        Raises:
            DataError: onnxruntime is missing, or it cannot read the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise DataError(MISSING) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        # The library has exceptions of its own for every kind of unreadable file.
        except Exception as error:
            raise DataError(f"{file}: cannot be run by onnxruntime: {error}") from error
        self._names = [entry.name for entry in self._session.get_inputs()]
        self.config = config
        self.device = torch.device("cpu")

    def __call__(self, **inputs: Any) -> Any:
        """Return an object with the logits of a batch; inputs that the graph lacks are ignored."""
        given = {name: inputs[name].numpy() for name in self._names if name in inputs}
        (logits,) = self._session.run([OUTPUT], given)
        return SimpleNamespace(logits=torch.from_numpy(logits))
