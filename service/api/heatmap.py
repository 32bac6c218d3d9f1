"""Heat maps: where the image shows a class, as numbers or as a PNG to lay over the image."""

import base64
import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import UsageError
from service.inference.engine import Steps
from service.inference.image.geometry import Box
from service.inference.image.views import AnyImage, resize, size_of
from service.inference.tta.passes import View, check_finite, values_of
from service.inference.tta.planner import Planner
from service.inference.tta.task import Task
from service.package.manifest import Manifest
from service.package.modes import why_not

OVERLAY_PX_PER_CELL = 32
MOST_OVERLAY_PX = 512 * 512
"""The most pixels of the PNG. A panorama gets fewer pixels for each cell; browsers enlarge it."""
STRONGEST_ALPHA = 200
MOST_CROPS = 32
"""The most that the pass over the whole photo may cost, in crops."""
# From cold to hot, as RGB: readable by the colour-blind, and on dark and light photos.
RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)


def check_heatmap(manifest: Manifest) -> None:
    """Raises UsageError for a model whose graph cannot run on a whole photo."""
    if reason := why_not(manifest, "dense"):
        raise UsageError(f"{manifest.name} has no heat map: {reason}")


def with_class_map(steps: Steps, image: AnyImage, planner: Planner) -> Steps:
    """Run `steps`, and one more pass for the class map if `steps` gave none.

    Raises:
        UsageError: a photo so wide or tall that the pass would be over `MOST_CROPS` crops.
    """
    given, crop_px = size_of(image), planner.input.crop_px
    whole = planner.whole_image(given)
    if whole.size.pixels > MOST_CROPS * crop_px**2:
        raise UsageError(
            f"a heat map of {given.width}×{given.height} px would take "
            f"{whole.size.pixels / crop_px**2:.0f} crops; the limit is {MOST_CROPS}"
        )
    answer = yield from steps
    if answer.class_map is not None:
        return answer
    pixels = resize(image, whole.resized, whole.interpolation)
    if whole.windows_from == "class_map":
        # As the view of a dense pass: on a GPU the shape is then warm.
        embeds = planner.graph.embedding is not None
        (result,) = yield [View(pixels, "class_map", embedding=embeds)]
        return replace(answer, class_map=values_of(result))
    # A graph that takes windows has no class map: a window for every cell makes one.
    step = planner.graph.stride_px
    high, wide = whole.size.height // step, whole.size.width // step
    cells = tuple(Box(step * y, step * x, step, step) for y in range(high) for x in range(wide))
    (result,) = yield [View(pixels, "window_logits", cells)]
    logits = values_of(result)  # (high * wide, K)
    return replace(answer, class_map=np.ascontiguousarray(logits.T).reshape(-1, high, wide))


def heatmap_json(
    class_map: NDArray[np.float32], index: int, form: str, task: Task
) -> dict[str, Any]:
    """class_map [K, h, w] -> the probability of class `index` at every feature position.

    `numbers`: rows of it. `png`: an RGBA overlay of the whole image, as base64, whose hottest spot
    is the map's own highest probability. Both forms have this probability as `peak`.
    """
    heat = task.probabilities(class_map.transpose(1, 2, 0))[..., index]  # (h, w)
    check_finite("heat map", heat)
    content: dict[str, Any] = {"index": index, "peak": round(float(heat.max()), 5)}
    if form == "numbers":
        return {**content, "values": np.round(heat, 5).tolist()}
    return {**content, "png_base64": base64.b64encode(_overlay(heat)).decode()}


def _overlay(heat: NDArray[np.float64]) -> bytes:
    height, width = heat.shape
    relative = heat / max(float(heat.max()), 1e-6)
    cells = Image.fromarray((relative * 255).astype(np.uint8))
    per_cell = min(OVERLAY_PX_PER_CELL, max(1, math.isqrt(MOST_OVERLAY_PX // (width * height))))
    target = (width * per_cell, height * per_cell)
    smooth = np.asarray(cells.resize(target, Image.Resampling.BICUBIC), float) / 255
    stops = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(smooth, stops, RAMP[:, channel]) for channel in range(3)]
    pixels = np.stack([*channels, smooth * STRONGEST_ALPHA], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
