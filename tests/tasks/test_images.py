"""Images: the pretrained model decides shape and scale, and the result can be used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.results.trial import TrialState, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.classification.image_classification import USAGE
from hpo_pipeline.tasks.inputs.image_scaling import FILE, ImageScaling
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.command import TrialCommand

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT for 8 x 8 pixels in colour, with the scale of ImageNet."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    folder = tmp_path_factory.mktemp("tiny-vit")
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    ViTForImageClassification(config).save_pretrained(str(folder))
    (folder / FILE).write_text(json.dumps({"image_mean": MEAN, "image_std": STD}), "utf-8")
    return folder


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """Grey images that are not square, dark on the left or on the right."""
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 80, (10, 12), np.uint8)
        label = ("left", "right")[number % 2]
        pixels[:, 6:] += 150 if label == "left" else 0
        pixels[:, :6] += 150 if label == "right" else 0
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{label}/{number}.png")
    return tmp_path / "images"


@pytest.fixture
def write(write_experiment: Any, stripes: Path) -> Any:
    """Return a function that writes an experiment on the images."""

    def write(model: object, extra: str = "") -> Path:
        training = "training: {num_train_epochs: 1, per_device_train_batch_size: 8}"
        task = f"kind: image-classification\nmodel: {model}\ndata: {stripes}\n{training}\n{extra}"
        file: Path = write_experiment(task=task)
        return file

    return write


def test_a_pretrained_model_is_trained_on_its_own_shape_and_can_be_used_as_the_card_says(
    write: Any, tiny_vit: Path, stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tiny_vit)
    dataset = prepare(load(file), tmp_path)
    meta = DatasetMeta.read(dataset)
    assert meta.shape == [8, 8, 3]
    assert meta.notes == ["40 of 40 images were resized to 8 x 8 pixels."]
    command = TrialCommand(file, dataset, tmp_path / "trials", "t", 0, {"learning_rate": "0.01"})
    main(command.argv())
    trial = read_trial(tmp_path / "trials/t")
    assert trial is not None
    assert trial.state == TrialState.SUCCEEDED, trial.reason
    found = json.loads((tmp_path / "trials/t/model" / FILE).read_text("utf-8"))
    assert (found["image_mean"], found["image_std"]) == (MEAN, STD)
    capsys.readouterr()
    used = USAGE.replace("path/to/this/folder", str(tmp_path / "trials/t/model"))
    exec(used.replace("path/to/an/image.png", str(stripes / "left/0.png")), {})
    assert capsys.readouterr().out.strip() in ("left", "right")


def test_what_transformers_makes_of_an_image_is_what_the_model_was_trained_on(
    write: Any, tiny_vit: Path, stripes: Path, tmp_path: Path
) -> None:
    from datasets import load_from_disk
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    experiment = load(write(tiny_vit))
    dataset = prepare(experiment, tmp_path)
    kind = TASKS["image-classification"]
    scaling = kind.load_processor(dataset / "processor")
    row: Any = load_from_disk(str(dataset / "train"))[0]
    ours = kind.collator(experiment.task, scaling, (8, 8, 3))([row])["pixel_values"][0].numpy()
    ViTImageProcessorPil.from_pretrained(str(dataset / "processor"))
    process = ViTImageProcessorPil.from_pretrained(str(dataset / "processor"))
    theirs = [
        process(Image.open(file).convert("RGB"), return_tensors="np")["pixel_values"][0]
        for file in stripes.glob("*/*.png")
    ]
    assert min(float(abs(ours - other).max()) for other in theirs) < 0.02


@pytest.mark.parametrize(
    ("extra", "shape"),
    [("", [10, 12, 1]), ("config: {image_size: 6, num_channels: 3}", [6, 6, 3])],
)
def test_from_scratch_the_file_decides_the_shape_or_else_the_images(
    write: Any, tmp_path: Path, extra: str, shape: list[int]
) -> None:
    file = write("vit", f"from_scratch: true\n{extra}")
    experiment = load(file)
    meta = DatasetMeta.read(dataset := prepare(experiment, tmp_path))
    assert meta.shape == shape
    scaling = ImageScaling.load(dataset / "processor")
    kind = TASKS["image-classification"]
    fields = kind.config_fields(experiment.task, scaling, meta.image_shape)
    assert fields["image_size"] == (6 if extra else [10, 12])


def wanted(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a task from scratch asks of the data."""
    task = SimpleNamespace(config=config, from_scratch=True)
    return dict(TASKS["image-classification"].read(task, SimpleNamespace(images=dict)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(32, (32, 32)), ([24, 32], (24, 32)), ({"height": 4, "width": 8}, (4, 8)), (None, None)],
)
def test_the_size_is_read_as_configs_write_it(size: object, expected: object) -> None:
    assert wanted({"image_size": size}) == {"size": expected, "channels": None}


@pytest.mark.parametrize("size", [0, -3, "32", [1, 2, 3], True, 10**6, {"width": 3}])
def test_a_size_that_makes_no_sense_is_refused(size: object) -> None:
    with pytest.raises(DataError, match=r"task\.config\.image_size: must be a number of pixels"):
        wanted({"image_size": size})


def test_channels_that_images_do_not_have_are_refused() -> None:
    with pytest.raises(DataError, match="images have 1 or 3 channels, and num_channels is 4"):
        wanted({"num_channels": 4})


@pytest.mark.parametrize(
    ("preprocessor", "shape", "mean"),
    [
        ({}, (8, 8, 3), (0.5, 0.5, 0.5)),
        ({"image_mean": MEAN, "image_std": STD}, (8, 8, 3), tuple(MEAN)),
        ({"image_mean": 0.1, "image_std": 0.5}, (8, 8, 1), (0.1,)),
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": STD}, (8, 8, 1), (pytest.approx(0.2),)),
        ({"image_mean": MEAN, "do_normalize": False}, (8, 8, 3), (0.0, 0.0, 0.0)),
    ],
)
def test_the_scale_is_that_of_the_image_processor(
    preprocessor: dict[str, Any], shape: tuple[int, int, int], mean: tuple[float, ...]
) -> None:
    assert ImageScaling.of(shape, preprocessor).mean == mean


@pytest.mark.parametrize("mean", [[0.1, 0.2], "0.5", []])
def test_a_scale_that_makes_no_sense_is_refused(mean: object) -> None:
    with pytest.raises(DataError, match="must have image_mean and image_std for 3 channels"):
        ImageScaling.of((8, 8, 3), {"image_mean": mean})
