"""Read crops out of one pass: the logits of a window are a weighted mean over the class map.

A network that ends in average pooling and a linear layer is linear after its last features, so the
mean of `class_map` over any window *is* what pooling that window would have given. A window's edges
may fall inside a feature's cell; the cell then counts by the share of it that the window covers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Box, Size


def axis_weights(
    start_px: float, length_px: float, cells: int, axis_px: int
) -> NDArray[np.float32]:
    """How much each of `cells` equal cells along `axis_px` pixels counts: float32[cells], sum 1."""
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
    _, cells_high, cells_wide = class_map.shape
    rows = np.stack([axis_weights(b.top, b.height, cells_high, size.height) for b in boxes])
    columns = np.stack([axis_weights(b.left, b.width, cells_wide, size.width) for b in boxes])
    return np.einsum("khw,vh,vw->vk", class_map, rows, columns, optimize=True)
