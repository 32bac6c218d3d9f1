"""A package with `decode: scaled` answers like one with `exact`, by every way in."""

from dataclasses import replace

import numpy as np
import pytest

from service.inference.image.geometry import FractionBox, Size
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from tests.support.images import coloured, encoded

BOXES = (FractionBox(0.25, 0.25, 0.5, 0.75), FractionBox(0, 0, 1, 1, flip=True))
MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "adaptive", "custom")
PHOTO = encoded(coloured("green", 810, 1203), "JPEG")


@pytest.fixture(scope="module")
def scaled(predictor: Predictor) -> Predictor:
    manifest = predictor.manifest
    sizes = manifest.input.model_copy(update={"decode": "scaled", "decode_factor": 2})
    package = replace(predictor.package, manifest=manifest.model_copy(update={"input": sizes}))
    return replace(predictor, package=package)


@pytest.mark.parametrize("mode", MODES)
def test_answers_agree(predictor: Predictor, scaled: Predictor, mode: Mode) -> None:
    boxes = BOXES if mode == "custom" else ()
    (exact,) = predictor.classify([PHOTO], mode, boxes=boxes)
    (other,) = scaled.classify([PHOTO], mode, boxes=boxes)
    assert exact.label == other.label == "green"
    assert [view.box for view in exact.answer.views] == [view.box for view in other.answer.views]
    np.testing.assert_allclose(exact.answer.probabilities, other.answer.probabilities, atol=0.01)


def test_the_file_is_scaled_and_keeps_its_size(scaled: Predictor) -> None:
    image = scaled.open_image(PHOTO)
    assert (image.scale, image.size) == (4, Size(810, 1203))
    assert image.image.size == (301, 203)
    assert scaled.open_image(PHOTO, BOXES).scale == 2
    assert scaled.decode(PHOTO).shape == (810, 1203, 3)


def test_an_exact_package_decodes_every_pixel(predictor: Predictor) -> None:
    image = predictor.open_image(PHOTO)
    assert image.scale == 1
    np.testing.assert_array_equal(image.array(), predictor.decode(PHOTO))
    options = Options(tta="none")
    views, others = (next(predictor.start(one, options)) for one in (image, image.array()))
    np.testing.assert_array_equal(views[0].pixels, others[0].pixels)
