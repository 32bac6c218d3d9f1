"""Compare an exported graph with its torch module, on real images, at several shapes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from service.errors import ExportError
from service.inference.image.geometry import Size
from service.inference.runtime.session import Session
from service.package.manifest import STRIDE_PX, InputSize
from training.data.dataset import Item
from training.data.samples import batch
from training.export.graph import OUTPUTS, ServingGraph

TOLERANCE = 1e-4
# Rounding to 8 bits changes logits by a few percent. A wrong kernel changes them by about their own
# size.
INT8_TOLERANCE = 0.25
BATCHES = (3, 1)


def served_shapes(sizes: InputSize) -> tuple[Size, ...]:
    """The shapes in serving: a square crop, and a whole rectangular image on the stride."""
    crop_px, resize_px = sizes.crop_px, sizes.resize_px
    return Size(crop_px, crop_px), Size(resize_px, resize_px + 2 * STRIDE_PX)


def shapes(sizes: InputSize) -> tuple[Size, ...]:
    """The shapes in serving, and one that is not a multiple of any stride."""
    return *served_shapes(sizes), Size(sizes.crop_px - 31, sizes.crop_px + 21)


def check_parity(
    graph: ServingGraph, path: Path, items: Sequence[Item], sizes: InputSize
) -> dict[str, Any]:
    """Compare `path` with `graph` on `items`: every shape, both outputs, batches of 3 and 1.

    A difference is relative to the largest logit of its batch. Returns the largest for each shape.

    Raises:
        ExportError: the file is not valid ONNX, or a difference is over the tolerance.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # the checker and shape inference raise different types
        raise ExportError(f"{path.name} is not a valid ONNX model: {error}") from error
    worst = compare(graph, path, items, shapes(sizes))
    for name, value in worst.items():
        if not value <= TOLERANCE:  # not: NaN must fail too
            raise ExportError(
                f"{path.name} does not agree with its checkpoint: at {name} px outputs differ by "
                f"{value:.1e} of the largest; the limit is {TOLERANCE:.0e}"
            )
    return {"tolerance": TOLERANCE, "largest_relative_difference": worst, "batches": list(BATCHES)}


def too_rough(path: Path, differences: dict[str, float]) -> str:
    """Why the int8 graph is not the same function; empty if it is. The tolerance is wide: it is
    rounded."""
    for name, value in differences.items():
        if not value <= INT8_TOLERANCE:
            return (
                f"{path.name} is not a rounded form of the checkpoint: at {name} px outputs differ "
                f"by {value:.0%} of the largest; the limit is {INT8_TOLERANCE:.0%}"
            )
    return ""


def compare(
    graph: ServingGraph, path: Path, items: Sequence[Item], at: Sequence[Size]
) -> dict[str, float]:
    """The largest relative difference at each shape, named ``HxW``."""
    session = Session.open(path, provider="cpu")
    worst: dict[str, float] = {}
    for size in at:
        images = batch(items[: max(BATCHES)], size)
        found = [difference(graph, session, images[:count]) for count in BATCHES]
        worst[f"{size.height}x{size.width}"] = float(np.max(found))  # NaN if any value is NaN
    return worst


def difference(graph: ServingGraph, session: Session, images: np.ndarray) -> float:
    """The largest difference of either output, relative to the largest absolute value in it."""
    with torch.inference_mode():
        expected = graph(torch.from_numpy(images))
    found: list[float] = []
    for name, value in zip(OUTPUTS, expected, strict=True):
        wanted = value.numpy()
        got = session.run(images, name)  # type: ignore[arg-type]
        if got.shape != wanted.shape:
            raise ExportError(f"{name} must be of shape {wanted.shape}, but got {got.shape}")
        found.append(float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    return float(np.max(found))
