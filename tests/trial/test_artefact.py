"""Artefacts: ONNX and reduced precision say what PyTorch says, or the trial says why not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hpo_pipeline.data.assets.cache import cache_folder
from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.trial.artefact import onnx_graph
from hpo_pipeline.trial.artefact.build import build_artefact, forget_artefacts, open_artefact

ONNX = Serve(format="onnx")
INT8 = Serve(format="onnx", quantize="int8")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that keeps the graphs of these tests together: an export takes seconds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(graphs))


def bert(seed: int) -> Any:
    """Return a small BERT with random weights."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, num_labels=3,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def texts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of token rows, padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.ones(len(rows))}


ROWS = [{"input_ids": [1 + (i * j) % 49 for j in range(3 + i)]} for i in range(9)]


def saved(model: Any, folder: Path) -> Path:
    """Save a model and return its folder."""
    model.save_pretrained(folder)
    return folder


def test_an_export_says_what_pytorch_says_for_batches_of_any_shape(tmp_path: Path) -> None:
    model = bert(0)
    artefact = build_artefact(model, ONNX, saved(model, tmp_path / "m"), ROWS, texts, threads=1)
    assert artefact.drift < 1e-5
    for rows in (ROWS[:1], ROWS[4:6], [{"input_ids": [*range(1, 50)]}]):
        batch = texts(rows)
        with torch.inference_mode():
            expected = model(batch["input_ids"], batch["attention_mask"]).logits
        assert torch.allclose(artefact.model(**batch).logits, expected, atol=1e-5)


def test_a_second_model_of_one_architecture_fills_the_graph_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bert(0)
    build_artefact(model, ONNX, saved(model, tmp_path / "first"), ROWS, texts, threads=1)
    monkeypatch.setattr(onnx_graph, "_exported", None)
    other = bert(1)
    artefact = build_artefact(other, ONNX, saved(other, tmp_path / "second"), ROWS, texts, 1)
    assert artefact.drift < 1e-5


def test_a_damaged_graph_counts_as_none(tmp_path: Path) -> None:
    model = bert(0)
    inputs = {k: v for k, v in texts(ROWS[:2]).items() if k != "labels"}
    cache = tmp_path / "graphs"
    build_artefact(model, ONNX, saved(model, tmp_path / "m"), ROWS, texts, threads=1)
    shutil.copytree(cache_folder() / "graphs", cache)
    assert onnx_graph._known_graph(model, inputs, cache) is not None
    for file in cache.iterdir():
        file.write_bytes(file.read_bytes()[:40])
    assert onnx_graph._known_graph(model, inputs, cache) is None


def test_eight_bits_are_smaller_and_close(tmp_path: Path) -> None:
    model = bert(0)
    folder = saved(model, tmp_path / "m")
    whole = build_artefact(model, ONNX, folder, ROWS, texts, threads=1)
    short = build_artefact(model, INT8, folder, ROWS, texts, threads=1)
    assert 1e-6 < short.drift < 0.1
    assert short.size_mb < whole.size_mb
    forget_artefacts(folder, INT8)
    assert [file.name for file in (folder / "onnx").iterdir()] == ["model_int8.onnx"]
    again = open_artefact(model, INT8, folder, threads=1)
    batch = texts(ROWS)
    assert torch.equal(again.model(**batch).logits, short.model(**batch).logits)


def test_half_precision_is_saved_as_such(tmp_path: Path) -> None:
    model = bert(0)
    folder = saved(model, tmp_path / "m")
    size = (folder / "model.safetensors").stat().st_size
    half = build_artefact(model, Serve(quantize="bf16"), folder, ROWS, texts, threads=1)
    assert half.size_mb * 1e6 < 0.6 * size
    assert 0 < half.drift < 0.1
    read = AutoModelForSequenceClassification.from_pretrained(folder)
    assert read.dtype == torch.bfloat16


def test_images_are_exported_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=8, num_hidden_layers=1,
        num_attention_heads=1, intermediate_size=8,
    )  # fmt: skip
    model = ViTForImageClassification(config).eval()
    rows = [{"pixels": torch.rand(1, 8, 8)} for _ in range(5)]

    def collate(some: list[dict[str, Any]]) -> dict[str, Any]:
        return {"pixel_values": torch.stack([row["pixels"] for row in some])}

    folder = saved(model, tmp_path / "m")
    artefact = build_artefact(model, ONNX, folder, rows, collate, threads=1)
    assert artefact.drift < 1e-5
    assert artefact.model(**collate(rows[:1])).logits.shape == (1, 2)


def refuse(*args: Any, **options: Any) -> None:
    """Fail as an exporter does that does not know an operator."""
    raise RuntimeError("no such operator")


def test_what_drifts_or_cannot_be_exported_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bert(0)
    folder = saved(model, tmp_path / "m")
    strict = Serve(format="onnx", quantize="int8", max_drift=1e-9)
    with pytest.raises(TrialError, match=r"and 1e-09 is allowed \(serve.max_drift\)"):
        build_artefact(model, strict, folder, ROWS, texts, threads=1)

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(TrialError, match=r"onnx: the model cannot be exported: no such operator"):
        onnx_graph.write_onnx(bert(0), texts(ROWS[:2]), tmp_path / "odd.onnx", tmp_path / "none")
    with pytest.raises(DataError, match=r"has no onnx/model\.onnx, which serve asks for"):
        open_artefact(model, ONNX, saved(model, tmp_path / "bare"), threads=1)


def test_formats_and_precisions_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="torch can be served with none or bf16, got int8"):
        Serve(quantize="int8")
    with pytest.raises(ValueError, match="onnx can be served with none or int8, got bf16"):
        Serve(format="onnx", quantize="bf16")
