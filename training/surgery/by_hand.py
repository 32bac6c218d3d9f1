"""Pool windows of features in NumPy and run the source's head on them: what a graph must equal."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from service.inference.tta.windows import axis_weights
from training.surgery.building.windows import HALF
from training.surgery.matching.head import LOGITS
from training.surgery.matching.pools import How
from training.surgery.probe import Runner

Window = tuple[float, float, float, float]
"""left, top, right, bottom in fractions."""


def window_logits(
    features: NDArray[np.float32],
    windows: Sequence[Window],
    head: onnx.ModelProto,
    how: Sequence[How],
) -> NDArray[np.float32]:
    """float32[N, C, h, w] and V windows -> logits float32[N, V, K], one window after another."""
    runner, rows = Runner(head, [LOGITS]), []
    for window in windows:
        feeds = {}
        for value, one in zip(head.graph.input, how, strict=True):
            form = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
            feeds[value.name] = _pooled(features, window, one).reshape(-1, *form)
        rows.append(runner.run(feeds)[LOGITS])
    return np.stack(rows, axis=1)


def _pooled(features: NDArray[np.float32], window: Window, how: How) -> NDArray[np.float32]:
    left, top, right, bottom = window
    high, wide = features.shape[2:]
    if how == "mean":
        rows = axis_weights(top * high, (bottom - top) * high, high, high)
        columns = axis_weights(left * wide, (right - left) * wide, wide, wide)
        return np.einsum("nchw,h,w->nc", features, rows, columns).astype(np.float32)
    rows, columns = _taken(top, bottom, high), _taken(left, right, wide)
    return features[:, :, rows][:, :, :, columns].max((2, 3))


def _taken(start: float, end: float, cells: int) -> list[int]:
    """The cells along one axis that a maximum takes."""
    shares = [
        max(0.0, min(cell + 1, end * cells) - max(cell, start * cells)) for cell in range(cells)
    ]
    least = min(HALF, max(shares) - 1e-6)
    return [cell for cell, share in enumerate(shares) if share >= least]


def class_map_logits(
    class_map: NDArray[np.float32], windows: Sequence[Window]
) -> NDArray[np.float32]:
    """Windows read from a class map float32[N, K, h, w] as serving does: float32[N, V, K]."""
    high, wide = class_map.shape[2:]
    rows = [axis_weights(t * high, (b - t) * high, high, high) for _, t, _, b in windows]
    columns = [axis_weights(x * wide, (r - x) * wide, wide, wide) for x, _, r, _ in windows]
    return np.einsum("nkhw,vh,vw->nvk", class_map, np.stack(rows), np.stack(columns)).astype(
        np.float32
    )
