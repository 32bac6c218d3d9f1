"""Find by running which sizes a finished graph takes: nothing is assumed."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from service.console.text import reason_of
from training.surgery.probe import Runner, smooth_images

PROBED_PX = (256, 512)
BATCH_TOLERANCE = 1e-3


class Finished:
    """A finished graph as a function, with its features."""

    def __init__(self, model: onnx.ModelProto, features: str = "") -> None:
        outputs = [value.name for value in model.graph.output]
        self._takes_windows = len(model.graph.input) > 1
        self._runner = Runner(model, [*outputs, *([features] if features else [])])

    def run(
        self, images: NDArray[np.uint8], windows: Sequence[Sequence[float]] = ((0, 0, 1, 1),)
    ) -> dict[str, NDArray]:
        """Every output and the features, by name. The runtime's own exceptions pass through."""
        feeds: dict[str, NDArray] = {"images": images}
        if self._takes_windows:
            feeds["windows"] = np.asarray(windows, np.float32)
        return self._runner.run(feeds)


def checked_shapes(crop_px: int, stride_px: int) -> list[tuple[int, int, int]]:
    """(N, H, W) at which graphs are checked: the crop, a rectangle and odd sides around it."""

    def on_stride(share: float) -> int:
        return max(1, round(crop_px * share / stride_px)) * stride_px

    return [
        (2, crop_px, crop_px),
        (1, on_stride(1.25), on_stride(1.5)),
        (3, crop_px + 1, max(1, round(crop_px * 0.84))),
    ]


def failing(graph: Finished, shapes: Sequence[tuple[int, int, int]]) -> str:
    """Why the graph cannot take one of these shapes; empty if it takes all."""
    for number, height, width in shapes:
        images = smooth_images(number, height, width)
        try:
            found = graph.run(images)["logits"]
            alone = np.concatenate([graph.run(image[None])["logits"] for image in images])
        except Exception as error:  # the runtime's own exceptions have no common base
            return f"at {number}×{height}×{width} the graph fails: {reason_of(error)}"
        if found.shape != alone.shape or not np.isfinite(found).all():
            return f"at {number}×{height}×{width} the graph gives no finite logits for each image"
        if np.abs(found - alone).max() > BATCH_TOLERANCE * max(1e-6, np.abs(alone).max()):
            return f"at {height}×{width} images of one batch change each other's logits"
    return ""


def stride(graph: Finished, features: str, width: int) -> int:
    """Pixels between neighbouring cells of `features`, from two heights."""
    low, high = PROBED_PX
    cells = [
        graph.run(smooth_images(1, height, width))[features].shape[2] for height in (low, high)
    ]
    return max(1, round((high - low) / max(1, cells[1] - cells[0])))


def smallest(graph: Finished, stride_px: int, crop_px: int) -> int:
    """The smallest square that the graph takes, and at least one cell."""
    low, high = min(stride_px, crop_px), crop_px
    while low < high:
        side = (low + high) // 2
        if failing(graph, [(1, side, side)]):
            low = side + 1
        else:
            high = side
    return high
