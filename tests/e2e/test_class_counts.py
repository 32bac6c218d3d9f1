"""One class, and hundreds, on images of any shape: split, exported, calibrated, evaluated."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from service.inference.predictor import Predictor
from service.package.package import ModelPackage
from tests.support.images import drawn, encoded
from tests.support.tiny import tiny_package
from tests.support.untrained import RECIPE, write_run
from training.calibration.calibrate import calibrate
from training.calibration.images import held_out
from training.data.dataset import Item, split
from training.data.stats import IMAGENET
from training.evaluation.evaluate import evaluate
from training.export.export import export_package
from training.fit.loaders import dataloaders

MANY = 300
SHAPES = ((24, 30), (9, 160), (200, 11), (40, 40), (1, 1))


def data(folder: Path, classes: int, images: int) -> Path:
    """``train/<class>/*`` of small images, the oddest shapes among them."""
    for number in range(classes):
        target = folder / "train" / f"class{number:03}"
        target.mkdir(parents=True)
        for index in range(images):
            height, width = SHAPES[(number + index) % len(SHAPES)]
            image = encoded(drawn(height, width, number * images + index))
            (target / f"{index}.png").write_bytes(image)
    return folder


def test_images_of_every_shape_make_a_batch(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    images = split(data(tmp_path, 2, 50), RECIPE)
    loaders = dataloaders(images, RECIPE, 64, IMAGENET)
    pixels, _ = loaders.train.one_batch()  # type: ignore[union-attr]
    assert pixels.shape[1:] == (3, 64, 64)
    assert torch.isfinite(pixels).all()


def test_hundreds_of_small_classes(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder = data(tmp_path / "data", MANY, 2)
    run = write_run(tmp_path / "run", folder)
    images = split(folder, RECIPE)
    assert (len(images.train), len(images.calibration)) == (480, 120)
    assert len({item.label for item in images.train}) == MANY
    package = export_package(run, tmp_path / "many", folder, int8=False, log=lambda _: None)
    manifest = calibrate(package, held_out(ModelPackage.load(package), folder), log=lambda _: None)
    assert len(manifest.labels) == MANY
    (row,) = evaluate(package, images.train[:20], ["dense"]).rows
    assert row.scores.top5 is not None
    predictor = Predictor.from_package(package, provider="cpu", threads=1)
    (prediction,) = predictor.classify([drawn(9, 300)], "adaptive", top_k=MANY, coverage=0.9)
    assert sum(top.probability for top in prediction.top) == pytest.approx(1)


def test_one_class_is_always_the_answer(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "one", classes=1, int8=False)
    photos = [tmp_path / f"{n}.png" for n in range(12)]
    for seed, path in enumerate(photos):
        path.write_bytes(encoded(drawn(70, 90, seed)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(package, [Item(path, "red") for path in photos], log=lambda _: None)
    (row,) = evaluate(package, [Item(path, "red") for path in photos], ["adaptive"]).rows
    assert (row.scores.top1, row.scores.top5, row.scores.nll) == (1.0, None, 0.0)
    predictor = Predictor.from_package(package, provider="cpu", threads=1)
    (prediction,) = predictor.classify([photos[0].read_bytes()], "adaptive", coverage=0.9)
    assert prediction.prediction_set == ("red",)
    np.testing.assert_array_equal(prediction.answer.probabilities, [1.0])
