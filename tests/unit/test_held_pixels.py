"""Images of many megapixels leave memory as soon as their views are cut."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from service.inference.engine import Done, run_views, step
from service.inference.image import views
from service.inference.image.geometry import FractionBox, Size
from service.inference.image.views import AnyImage, Pixels
from service.inference.predictor import Predictor
from service.inference.tta import passes
from service.inference.tta import steps as tta
from service.inference.tta.aggregate import Array
from service.inference.tta.steps import Options
from service.package.manifest import Interpolation, Mode
from tests.support.images import drawn
from training.calibration.configurations import served


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
    runs = 0
    while not isinstance(state, Done):
        runs += 1
        state = step(job, run_views(state, predictor.session, 8))
    np.testing.assert_array_equal(state.answer.probabilities, wanted)
    assert runs == 2  # else this says nothing of the second pass


def test_a_resized_copy_that_both_passes_need_is_made_once(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a square image the second pass cuts the copy of the first, and the image does not wait."""
    manifest = predictor.manifest
    crop_first = manifest.model_copy(update={"adaptive": served(manifest.input)})
    predictor = replace(predictor, package=replace(predictor.package, manifest=crop_first))
    image = drawn(200, 200)
    options = Options(tta="adaptive")
    (wanted,) = tta_answers(predictor, image, options)
    sizes: list[Size] = []
    resize = views.resize

    def counted(image: AnyImage, size: Size, interpolation: Interpolation) -> Pixels:
        sizes.append(size)
        return resize(image, size, interpolation)

    monkeypatch.setattr(passes, "resize", counted)
    alive = weakref.ref(image)
    job = predictor.start(image, options)
    del image
    state = step(job)
    gc.collect()
    assert alive() is None
    runs = 0
    while not isinstance(state, Done):
        runs += 1
        state = step(job, run_views(state, predictor.session, 8))
    assert runs == 2
    assert len(sizes) == 1
    np.testing.assert_array_equal(state.answer.probabilities, wanted)


def tta_answers(predictor: Predictor, image: Pixels, options: Options) -> list[Array]:
    return [p.answer.probabilities for p in predictor.classify([image], options.tta)]
