"""Drawn packages with embeddings, and with an unknown score: a colour that is not a class."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from service.inference.options import OFF
from service.inference.predictor import Predictor
from service.inference.unknown import as_bytes
from service.package.manifest import Manifest, Mode, ModeCalibration
from service.package.modes import graph_modes
from service.package.package import ModelPackage
from service.package.parts import Scale, UnknownModel
from tests.support.images import COLOURS, coloured, drawn
from tests.support.kinds import Drawn, kind_package
from training.export.embedding import embed_package
from training.export.writer import write_manifest

RATES = (0.5, 0.9, 0.95, 0.99)
FILE = "unknown-drawn.npy"
__all__ = ["OFF", "RATES", "embedding_package", "unknown_package"]


def embedding_package(
    folder: Path, kind: Drawn = "class_map", stride_px: int = 16, **more: Any
) -> Path:
    """A package of `kind_package` whose graph gives its features: the mean colour of an image."""
    kind_package(folder, kind, stride_px, **more)
    embed_package(folder, log=lambda _: None)
    return folder


def unknown_package(folder: Path, kind: Drawn = "class_map", **more: Any) -> Path:
    """A package that knows images of one colour of `COLOURS`, and no others.

    Its score is the residual of the mean colour from the plane of the three colours.
    """
    embedding_package(folder, kind, **more)
    package = ModelPackage.load(folder)
    colours = np.array([*COLOURS.values()], np.float64) / 255
    mean = colours.mean(0)
    plane = np.linalg.svd(colours - mean)[2][:2]
    data = as_bytes(mean, plane)
    (folder / FILE).write_bytes(data)
    unknown = UnknownModel(
        file=FILE,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        logit=Scale(centre=0, spread=1e6),
        residual=Scale(centre=-3, spread=1),
        residual_weight=1,
        images=3,
        held_out=True,
    )
    curve = tuple(zip(RATES, (-1.0, 0.0, 0.5, 1.0), strict=True))
    modes: list[Mode] = [
        m for m in graph_modes(package.manifest) if m not in ("custom", "adaptive")
    ]
    entries = tuple(
        ModeCalibration(precision="fp32", mode=mode, unknown_curve=curve) for mode in modes
    )
    changed = {"unknown": unknown, "calibration": entries}
    manifest = Manifest.model_validate({**dict(package.manifest), **changed})
    write_manifest(folder, manifest)
    return folder


def opened(folder: Path, **more: Any) -> Predictor:
    """A package on one thread of the CPU."""
    return Predictor.from_package(folder, precision="fp32", provider="cpu", threads=1, **more)


KNOWN = coloured("red", 80, 100)
FOREIGN = np.full((80, 100, 3), 255, np.uint8)
"""White lies far from the plane of the three colours."""
PHOTO = drawn(90, 140)
