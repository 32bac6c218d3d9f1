"""Compare a converted graph with its source, at several sizes and batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.console.text import reason_of
from service.errors import ImportRefused
from service.inference.image.geometry import Size
from service.inference.image.views import resize
from training.data.pixels import open_image
from training.imports.spec import ImportSpec
from training.surgery import Converted, by_hand
from training.surgery.probe import smooth_images
from training.surgery.sizes import Finished, checked_shapes
from training.surgery.wanted import Activation

TOLERANCE = 1e-3
"""The largest difference of logits, as a share of the largest logit."""
SURE = 1e-6
"""Probabilities closer to 0 or 1 than this do not show their logits in float32."""
WINDOWS: tuple[by_hand.Window, ...] = (
    (0.0, 0.0, 1.0, 1.0),
    (0.0, 0.0, 0.8, 0.7),
    (0.13, 0.21, 0.93, 0.9),
    (0.3, 0.3, 1.0, 1.0),
)
Logits = NDArray[np.floating]


@dataclass(frozen=True)
class Parity:
    """The largest differences that were seen, as shares of the largest logit."""

    sizes: dict[str, float]
    """By "HxW", of the logits against the source."""
    batches: tuple[int, ...]
    windows: float | None
    """Of the windows in the graph against windows that are cut by hand; None for kind crops."""
    images: str
    """"photos" or "drawn pictures"."""

    @property
    def worst(self) -> float:
        return max(self.sizes.values())

    def facts(self) -> dict:
        """For the manifest."""
        return {
            "tolerance": TOLERANCE,
            "largest_relative_difference": self.sizes,
            "batches": list(self.batches),
            "windows": self.windows,
            "images": self.images,
        }


def check(converted: Converted, spec: ImportSpec) -> tuple[Converted, Parity]:
    """Compare the graph with `spec.reference`, and its windows with slices of its features.

    Returns `converted` with the sizes that hold: those of the source alone, where the graph agrees
    with it at that size and not at others.

    Raises:
        ImportRefused: the graph differs from its source at the size of a crop, or at the only size
            of the source; or its windows differ from those that are cut by hand.
    """
    crop_px = spec.sizes.crop_px
    if converted.source_sizes != "dynamic":
        crop_px = converted.source_sizes[0][0]  # the only size that the source takes
    graph = Finished(converted.model, converted.features)
    shapes = [(2, crop_px, crop_px), (1, crop_px, crop_px)]
    if converted.sizes == "dynamic" and converted.source_sizes == "dynamic":
        shapes = [*checked_shapes(crop_px, max(converted.stride_px, 8)), (1, crop_px, crop_px)]
    found: dict[str, float] = {}
    for number, height, width in shapes:
        images = _images(spec.photos, number, Size(height, width))
        name = f"{height}x{width}"
        try:
            expected = np.asarray(spec.reference(images), np.float32)
        except Exception as error:  # of the source's own library
            if (height, width) == (crop_px, crop_px):
                raise ImportRefused(
                    f"{spec.source} itself fails at {name}: {reason_of(error)}"
                ) from error
            converted = _of_one_size(converted, crop_px, f"the source does not take {name} px")
            break
        apart = difference(graph.run(images)["logits"], expected, converted.activation)
        if apart <= TOLERANCE:
            found[name] = max(apart, found.get(name, 0.0))
            continue
        if (height, width) == (crop_px, crop_px):
            raise ImportRefused(
                f"the graph does not agree with {spec.source}: at {name} px its logits differ by "
                f"{apart:.1e} of the largest; the limit is {TOLERANCE:.0e}"
            )
        reason = f"at {name} px it differs from the source by {apart:.0e}"
        converted = _of_one_size(converted, crop_px, reason)
        break
    return converted, Parity(
        sizes=found,
        batches=tuple(sorted({shape[0] for shape in shapes}, reverse=True)),
        windows=_windows(converted, spec, graph),
        images="photos" if spec.photos else "drawn pictures",
    )


def difference(logits: Logits, expected: Logits, activation: Activation) -> float:
    """The largest difference as a share of the largest logit; infinite where an answer changes.

    Where the source gives probabilities, they are turned back into logits first.
    """
    expected = expected.reshape(len(expected), -1)
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        return float("inf")
    if activation == "sigmoid":
        known = (expected > SURE) & (expected < 1 - SURE)
        inside = np.clip(expected, SURE, 1 - SURE)
        expected = np.log(inside / (1 - inside))
    elif activation in ("softmax", "log_softmax"):
        logs = np.log(np.maximum(expected, 1e-30)) if activation == "softmax" else expected
        known = logs > np.log(1e-20)
        # A softmax does not change where a constant is added to all logits of an image.
        most = expected.argmax(1)[:, None]
        expected = logs - np.take_along_axis(logs, most, 1)
        logits = logits - np.take_along_axis(logits, most, 1)
    else:
        known = np.ones(expected.shape, bool)
    largest = max(float(np.abs(expected[known]).max(initial=0)), 1e-12)
    apart = float(np.abs(logits - expected)[known].max(initial=0)) / largest
    first, second = np.sort(expected, 1)[:, ::-1][:, :2].T if expected.shape[1] > 1 else (1, 0)
    clear = np.asarray(first - second) > 2 * TOLERANCE * largest
    changed = logits.argmax(1) != expected.argmax(1)
    return float("inf") if (changed & clear).any() else apart


def _of_one_size(converted: Converted, crop_px: int, reason: str) -> Converted:
    return replace(
        converted,
        sizes=((crop_px, crop_px),),
        smallest_px=crop_px,
        reason=converted.reason or reason,
    )


def _windows(converted: Converted, spec: ImportSpec, graph: Finished) -> float | None:
    if converted.head is None:
        return None
    crop_px = spec.sizes.crop_px
    size = Size(crop_px, crop_px)
    if converted.sizes == "dynamic":
        size = Size(crop_px, crop_px + 2 * converted.stride_px)
    found = graph.run(_images(spec.photos, 2, size), WINDOWS)
    cut = by_hand.window_logits(found[converted.features], WINDOWS, converted.head, converted.pools)
    if converted.kind == "class_map":
        read = by_hand.class_map_logits(found["class_map"], WINDOWS)
    else:
        read = found["window_logits"]
    apart = float(np.abs(read - cut).max() / max(1e-12, np.abs(cut).max()))
    if not apart <= TOLERANCE:
        raise ImportRefused(
            f"the windows of the graph differ from windows cut by hand by {apart:.1e} of the "
            f"largest logit; the limit is {TOLERANCE:.0e}"
        )
    return apart


def _images(photos: Sequence[Path], number: int, size: Size) -> NDArray[np.uint8]:
    if not photos:
        return smooth_images(number, size.height, size.width)
    some = [photos[at % len(photos)] for at in range(number)]
    return np.stack([resize(open_image(path), size) for path in some])
