"""Compute windows from one pass: the logits of a window are a weighted mean over the class map.

A network that ends in average pooling and a linear layer is linear after its last features, so the
mean of `class_map` over any window *is* the result of pooling that window. If the edge of a window
lies inside a cell, the weight of the cell is the share that the window covers.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Box, Size

READ = "khw,vh,vw->vk"
"""Turns class maps, and the shares of their rows and columns, into the logits of V windows."""


def axis_weights(
    start_px: float, length_px: float, cells: int, axis_px: int
) -> NDArray[np.float32]:
    """The weight of each of `cells` equal cells along `axis_px` pixels: float32[cells], sum 1."""
    cell_px = axis_px / cells
    edges = np.arange(cells + 1) * cell_px
    low = np.maximum(edges[:-1], start_px)
    high = np.minimum(edges[1:], start_px + length_px)
    covered = np.maximum(high - low, 0)
    return (covered / covered.sum()).astype(np.float32)


def as_input(boxes: Sequence[Box], size: Size) -> NDArray[np.float32]:
    """Boxes in pixels of a pass of `size` -> the `windows` input of a graph, float32[V, 4].

    Left, top, right and bottom, as fractions of the image that the graph is given.
    """
    edges = [(b.left, b.top, b.right, b.bottom) for b in boxes]
    sides = (size.width, size.height, size.width, size.height)
    return (np.array(edges, np.float64) / sides).astype(np.float32)


def window_logits(
    class_map: NDArray[np.float32], boxes: Sequence[Box], size: Size
) -> NDArray[np.float32]:
    """float32[K, h, w] and V boxes in pixels of a pass of `size` -> logits float32[V, K]."""
    reader = _reader(tuple(boxes), size, class_map.shape)
    return np.einsum(READ, class_map, reader.rows, reader.columns, optimize=reader.path)


class _Reader(NamedTuple):
    """The weight of each cell in each window, and the order in which to sum."""

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    path: Any


@lru_cache(256)
def _reader(boxes: tuple[Box, ...], size: Size, shape: tuple[int, ...]) -> _Reader:
    """The same for all images of one size: making it takes longer than reading the map."""
    classes, cells_high, cells_wide = shape
    rows = np.stack([axis_weights(b.top, b.height, cells_high, size.height) for b in boxes])
    columns = np.stack([axis_weights(b.left, b.width, cells_wide, size.width) for b in boxes])
    empty = np.empty((classes, cells_high, cells_wide), np.float32)
    path, _ = np.einsum_path(READ, empty, rows, columns, optimize=True)
    return _Reader(rows, columns, path)
