"""Windows of a class map: weights of cells, and logits that equal pooling the window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.image.geometry import Box, Size
from service.inference.tta.windows import as_input, axis_weights, window_logits

CELL_PX = 4
"""Side of a cell in the tests, so that a pixel grid can check the weights."""


@st.composite
def intervals(draw: st.DrawFn) -> tuple[int, int, int]:
    """Start and length of an interval in pixels, and the cells of its axis."""
    cells = draw(st.integers(1, 12))
    start_px = draw(st.integers(0, cells * CELL_PX - 1))
    length_px = draw(st.integers(1, cells * CELL_PX - start_px))
    return start_px, length_px, cells


@given(intervals())
def test_a_cell_counts_by_the_share_that_the_window_covers(interval: tuple[int, int, int]) -> None:
    start_px, length_px, cells = interval
    inside = np.zeros(cells * CELL_PX)
    inside[start_px : start_px + length_px] = 1
    expected = inside.reshape(cells, CELL_PX).sum(1) / length_px
    weights = axis_weights(start_px, length_px, cells, cells * CELL_PX)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=1e-6)


@given(st.floats(0, 0.9), st.floats(0.01, 1), st.integers(1, 40), st.integers(1, 2000))
def test_weights_of_any_interval_sum_to_one(
    start: float, length: float, cells: int, axis_px: int
) -> None:
    length_px = min(length, 1 - start) * axis_px
    weights = axis_weights(start * axis_px, length_px, cells, axis_px)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-5)


@given(intervals(), intervals(), st.integers(0, 2**32 - 1))
def test_logits_of_a_window_are_the_mean_of_its_pixels(
    rows: tuple[int, int, int], columns: tuple[int, int, int], seed: int
) -> None:
    class_map = np.random.default_rng(seed).normal(size=(3, rows[2], columns[2])).astype(np.float32)
    box = Box(rows[0], columns[0], rows[1], columns[1])
    size = Size(rows[2] * CELL_PX, columns[2] * CELL_PX)
    pixels = class_map.repeat(CELL_PX, 1).repeat(CELL_PX, 2)
    cut = pixels[:, box.top : box.top + box.height, box.left : box.left + box.width]
    (logits,) = window_logits(class_map, [box], size)
    np.testing.assert_allclose(logits, cut.mean((1, 2)), atol=1e-4)


def test_several_windows_are_rows_in_their_order() -> None:
    class_map = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    size = Size(64, 64)
    boxes = [Box(0, 0, 32, 32), Box(32, 32, 32, 32), Box(0, 0, 64, 64)]
    np.testing.assert_allclose(window_logits(class_map, boxes, size), [[0, 4], [3, 7], [1.5, 5.5]])


def test_boxes_become_fractions_from_the_left_and_the_top() -> None:
    made = as_input([Box(top=10, left=40, height=20, width=120)], Size(height=100, width=200))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, [[0.2, 0.1, 0.8, 0.3]])
