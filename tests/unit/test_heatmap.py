"""Heat maps: which pass gives the class map, its numbers, and its overlay."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.api.heatmap import MOST_OVERLAY_PX, check_heatmap, heatmap_json, with_class_map
from service.errors import UsageError
from service.inference.engine import run_all
from service.inference.predictor import Predictor
from service.inference.tta.steps import Classification, Options
from service.inference.tta.task import MULTI_LABEL, SINGLE_LABEL
from tests.support.images import coloured


def classified(predictor: Predictor, image: Any, tta: str) -> Classification:
    steps = predictor.start(image, Options(tta=tta))  # type: ignore[arg-type]
    (answer,) = run_all([with_class_map(steps, image, predictor.model.planner)], predictor.session)
    return answer


@pytest.mark.parametrize("tta", ["none", "five_crop", "dense"])
def test_every_mode_gets_the_class_map_of_the_whole_image(predictor: Predictor, tta: str) -> None:
    """At resize_px = 96 and a stride of 32, 150×120 px have 3 rows and 4 columns of cells."""
    image = np.concatenate([coloured("red", 120, 75), coloured("blue", 120, 75)], axis=1)
    answer = classified(predictor, image, tta)
    assert answer.class_map is not None
    assert answer.class_map.shape == (3, 3, 4)
    hottest = answer.class_map.argmax(axis=0)  # the class of every cell
    red, _, blue = range(3)
    assert (hottest[:, 0] == red).all()
    assert (hottest[:, -1] == blue).all()


def test_the_answer_itself_stays_the_same(predictor: Predictor) -> None:
    image = coloured("green")
    (plain,) = run_all([predictor.start(image, Options(tta="five_crop"))], predictor.session)
    mapped = classified(predictor, image, "five_crop")
    np.testing.assert_array_equal(mapped.probabilities, plain.probabilities)


def test_a_photo_that_is_too_long_is_refused_before_anything_runs(predictor: Predictor) -> None:
    image = coloured("red", 64, 64 * 40)
    steps = with_class_map(iter(()), image, predictor.model.planner)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"2560×64 px would take .* crops; the limit is 32"):
        next(steps)


def test_a_graph_of_crops_has_no_heat_map(predictor: Predictor) -> None:
    manifest = predictor.package.manifest
    check_heatmap(manifest)
    crops = manifest.model_copy(
        update={"graph": manifest.graph.model_copy(update={"kind": "crops"})}
    )
    with pytest.raises(
        UsageError, match="tiny has no heat map: its graph gives the logits of whole"
    ):
        check_heatmap(crops)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_numbers_are_probabilities_of_the_class(
    height: int, width: int, seed: int, single: bool
) -> None:
    class_map = np.random.default_rng(seed).normal(0, 5, (4, height, width)).astype(np.float32)
    task = SINGLE_LABEL if single else MULTI_LABEL
    maps = [heatmap_json(class_map, index, "numbers", task)["values"] for index in range(4)]
    values = np.array(maps)
    assert values.shape == (4, height, width)
    assert ((values >= 0) & (values <= 1)).all()
    if single:
        np.testing.assert_allclose(values.sum(axis=0), 1, atol=1e-4)  # rounded to 5 digits
        assert (values.argmax(0) == class_map.argmax(0)).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_overlay_is_a_bounded_picture_of_the_same_shape(
    height: int, width: int, seed: int
) -> None:
    class_map = np.random.default_rng(seed).normal(0, 5, (2, height, width)).astype(np.float32)
    made = heatmap_json(class_map, 1, "png", SINGLE_LABEL)
    with Image.open(io.BytesIO(base64.b64decode(made["png_base64"]))) as picture:
        assert picture.mode == "RGBA"
        assert picture.width * height == picture.height * width
        assert picture.width * picture.height <= MOST_OVERLAY_PX
    assert made["index"] == 1
    numbers = heatmap_json(class_map, 1, "numbers", SINGLE_LABEL)
    assert made["peak"] == numbers["peak"] == np.max(numbers["values"])


def test_the_overlay_is_strongest_where_the_class_is_likeliest() -> None:
    class_map = np.zeros((2, 3, 3), np.float32)
    class_map[1] = -6
    class_map[1, 0, 2] = 6
    made = heatmap_json(class_map, 1, "png", SINGLE_LABEL)
    with Image.open(io.BytesIO(base64.b64decode(made["png_base64"]))) as picture:
        alpha = np.asarray(picture)[..., 3]
    y, x = np.unravel_index(alpha.argmax(), alpha.shape)
    assert y < picture.height / 3
    assert x > picture.width * 2 / 3
    assert alpha[-1, 0] < 10
