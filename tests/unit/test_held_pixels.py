"""Images of many megapixels leave memory as soon as their views are cut."""

import gc
import weakref

import numpy as np
import pytest

from service.inference.engine import Done, run_views, step
from service.inference.image.geometry import FractionBox
from service.inference.image.views import Pixels
from service.inference.predictor import Predictor
from service.inference.tta import steps as tta
from service.inference.tta.aggregate import Array
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from tests.support.images import drawn


@pytest.mark.parametrize("mode", ["none", "five_crop", "ten_crop", "dense", "custom"])
def test_an_image_does_not_wait_with_its_views(predictor: Predictor, mode: Mode) -> None:
    boxes = ((0.0, 0.0, 0.5, 0.5),) if mode == "custom" else ()
    options = Options(tta=mode, boxes=tuple(FractionBox(*box) for box in boxes))
    image = drawn(200, 300)
    alive = weakref.ref(image)
    job = predictor.start(image, options)
    del image
    assert next(job)
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("large", [False, True])
def test_a_large_image_does_not_wait_for_the_gate(
    predictor: Predictor, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = drawn(200, 300)
    options = Options(tta="adaptive")
    (wanted,) = tta_answers(predictor, image, options)
    if large:
        monkeypatch.setattr(tta, "HELD_BYTES", image.nbytes - 1)
    alive = weakref.ref(image)
    job = predictor.start(image, options)
    del image
    state = step(job)
    gc.collect()
    assert (alive() is None) == large
    passes = 0
    while not isinstance(state, Done):
        passes += 1
        state = step(job, run_views(state, predictor.session, 8))
    np.testing.assert_array_equal(state.answer.probabilities, wanted)
    assert passes == 2  # else this says nothing of the second pass


def tta_answers(predictor: Predictor, image: Pixels, options: Options) -> list[Array]:
    return [p.answer.probabilities for p in predictor.classify([image], options.tta)]
