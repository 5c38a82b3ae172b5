"""What the machine says it has to run trials on."""

from __future__ import annotations

import pytest

from hpo_pipeline.engines.local import hardware


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("3,5", ["3", "5"]),
        ("GPU-8932f937,MIG-GPU-8932f937/1/0", ["GPU-8932f937", "MIG-GPU-8932f937/1/0"]),
        ("", []),
        ("-1", []),
    ],
)
def test_only_the_gpus_that_are_allowed_are_used(
    monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert hardware.gpus() == names


def test_there_is_a_core() -> None:
    assert hardware.cores() >= 1
