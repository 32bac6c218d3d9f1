"""What is kept from one image to the next changes no answer, to the last bit."""

import numpy as np
import pytest

from service.api.options import KEPT_QUERY_BYTES, options_in, query_options, read_options
from service.errors import UsageError
from service.inference.image.geometry import Box, Size, five_boxes
from service.inference.predictor import Predictor
from service.inference.tta.windows import READ, axis_weights, window_logits
from service.package.manifest import Mode
from tests.support.images import drawn


@pytest.mark.parametrize(("classes", "high", "wide"), [(1, 1, 1), (10, 7, 9), (1000, 6, 8)])
def test_windows_equal_the_whole_computation(classes: int, high: int, wide: int) -> None:
    size = Size(32 * high, 32 * wide)
    boxes = five_boxes(size, 32 * min(high, wide))
    for seed in range(3):  # the second map uses what the first one left
        class_map = np.random.default_rng(seed).normal(size=(classes, high, wide))
        class_map = class_map.astype(np.float32)
        rows = np.stack([axis_weights(b.top, b.height, high, size.height) for b in boxes])
        columns = np.stack([axis_weights(b.left, b.width, wide, size.width) for b in boxes])
        whole = np.einsum(READ, class_map, rows, columns, optimize=True)
        np.testing.assert_array_equal(window_logits(class_map, boxes, size), whole)


def test_other_boxes_of_one_size_have_their_own_weights() -> None:
    class_map = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    size = Size(128, 128)
    (first,), (last,) = (
        window_logits(class_map, [Box(at, at, 32, 32)], size)[0].tolist() for at in (0, 96)
    )
    assert (first, last) == (0, 15)


@pytest.mark.parametrize("tta", ["none", "five_crop", "dense", "adaptive"])
def test_the_only_view_is_the_aggregate(predictor: Predictor, tta: Mode) -> None:
    """Softmax and temperature, once for the view and once for the answer, give the same bits."""
    for seed in range(4):
        (found,) = predictor.classify([drawn(90, 120, seed=seed)], tta)
        answer = found.answer
        if len(answer.views) == 1:
            np.testing.assert_array_equal(answer.views[0].raw, answer.raw)
            np.testing.assert_array_equal(answer.views[0].probabilities, answer.probabilities)


def test_kept_options_equal_those_that_are_read() -> None:
    for query in (b"", b"tta=dense&top_k=3", b"include=views,timing", b"tta=none" + b"&" * 20):
        for _ in range(2):
            assert options_in(query, {}) == read_options(query_options(query), {})
    assert options_in(b"tta=dense", {"top_k": "2"}).top_k == 2
    assert options_in(b"tta=dense", {}).top_k == 5
    long = b"model=" + b"a" * KEPT_QUERY_BYTES
    assert options_in(long, {}).model == "a" * KEPT_QUERY_BYTES
    for _ in range(2):  # an error is not kept as an answer
        with pytest.raises(UsageError, match="top_k"):
            options_in(b"top_k=0", {})
