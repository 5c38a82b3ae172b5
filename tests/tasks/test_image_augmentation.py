"""Augmentation: what each setting does to an image, and that evaluation sees none of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.inputs.image_augmentation import Augmentation, augmented, drawn
from tests.toys import faults_of, toy_experiment

TASK = {"kind": "image-classification", "model": "some/model", "data": "some/data"}


def ramp(rows: int = 64) -> Any:
    """Return grey images, 8 x 8, that brighten from left to right."""
    return torch.linspace(-1, 1, 8).expand(rows, 1, 8, 8).contiguous()


def changed(pixels: Any, settings: Augmentation) -> Any:
    """Return images as a first epoch changes them."""
    return augmented(pixels, settings, drawn([(0, 0, i) for i in range(len(pixels))]))


def test_nothing_is_changed_unless_asked_for() -> None:
    assert not Augmentation().is_on
    assert torch.equal(changed(ramp(), Augmentation()), ramp())


def test_flip_mirrors_about_half_of_the_images_and_does_nothing_else() -> None:
    found = changed(ramp(), Augmentation(flip=True))
    mirrored = [bool(torch.allclose(image, ramp(1)[0].flip(-1), atol=1e-5)) for image in found]
    plain = [bool(torch.allclose(image, ramp(1)[0], atol=1e-5)) for image in found]
    assert all(one != other for one, other in zip(mirrored, plain, strict=True))
    assert 20 <= sum(mirrored) <= 44


def test_a_shift_moves_an_image_by_at_most_its_share() -> None:
    spot = torch.zeros(200, 1, 9, 9)
    spot[:, :, 4, 4] = 1
    found = changed(spot, Augmentation(shift=2 / 9))
    where = [divmod(int(image.argmax()), 9) for image in found]
    assert {row for row, _ in where} == {column for _, column in where} == {2, 3, 4, 5, 6}


def test_a_turn_by_up_to_half_a_circle_keeps_the_middle_and_moves_the_edge() -> None:
    dot = torch.zeros(200, 1, 9, 9)
    dot[:, :, 4, 8] = 1
    found = changed(dot, Augmentation(rotation=180))
    mean = found.mean(dim=0)[0]
    assert mean[4, 4] == pytest.approx(0, abs=1e-6)
    assert all(mean[row, column] > 0 for row, column in ((4, 0), (0, 4), (8, 4)))


def test_brightness_and_zoom_stay_in_their_bounds() -> None:
    lit = changed(torch.zeros(200, 3, 4, 4), Augmentation(brightness=0.5))
    assert lit.abs().max() <= 0.5
    assert lit.abs().max() > 0.4
    assert torch.equal(lit[:, 0], lit[:, 2])
    zoomed = changed(ramp(200), Augmentation(zoom=0.25))
    assert zoomed.std() > 0
    assert not torch.allclose(zoomed, ramp(200))
    assert zoomed.abs().max() <= 1


def test_only_training_batches_are_changed(tmp_path: Any) -> None:
    from transformers import TrainingArguments, ViTConfig, ViTForImageClassification

    task = toy_experiment(task={**TASK, "brightness": 1.0}).task
    config = ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=8, num_hidden_layers=1,
        num_attention_heads=1, intermediate_size=8,
    )  # fmt: skip
    rows = [{"label": i % 2} for i in range(8)]
    trainer = TASKS["image-classification"].trainer(
        task,
        model=ViTForImageClassification(config),
        args=TrainingArguments(
            str(tmp_path), remove_unused_columns=False, dataloader_pin_memory=False
        ),
        data_collator=lambda some: {"pixel_values": ramp(len(some))},
        train_dataset=rows,
        eval_dataset=rows,
    )
    (trained,) = trainer.get_train_dataloader()
    (evaluated,) = trainer.get_eval_dataloader()
    assert torch.equal(evaluated["pixel_values"].cpu(), ramp(8))
    assert not torch.equal(trained["pixel_values"].cpu(), ramp(8))


def test_the_settings_are_fields_of_the_task_and_of_the_space(tmp_path: Any) -> None:
    task = "{kind: image-classification, model: some/model, data: some/data, flip: true}"
    space = "{task.rotation: {type: float, low: 0, high: 15}}"
    assert faults_of(tmp_path, task=task, space=space) == []
    searched = toy_experiment(task=TASK).task.assigned({"task.rotation": 4.0})
    assert searched.settings == Augmentation(rotation=4.0)
    wrong = faults_of(tmp_path, task=task.replace("flip: true", "shift: 2"), space=space)
    assert wrong == ["task.shift: input should be less than or equal to 0.5, got 2"]
    text = "{kind: text-classification, model: some/model, data: some/data, flip: true}"
    assert "task.flip: unknown key; allowed are kind, model" in faults_of(tmp_path, task=text)[0]
