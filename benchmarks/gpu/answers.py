"""Answers for real photos: every mode and precision against fp32 on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.engine import PROBABILITY_TOLERANCE, Clock
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.listing.image_files import DECODED_SUFFIXES
from service.package.manifest import Precision
from service.package.package import ModelPackage

MOST_PHOTOS = 200


def photos_in(folder: Path) -> list[Path]:
    """Image files in `folder` and below, evenly spread, at most `MOST_PHOTOS`."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in DECODED_SUFFIXES)
    if not found:
        raise SystemExit(f"there is no image in {folder}")
    step = max(1, len(found) // MOST_PHOTOS)
    return found[::step][:MOST_PHOTOS]


def answers(
    package: ModelPackage, precisions: list[Precision], provider: Provider,
    photos: list[Path], left_s: Clock,
) -> list[dict[str, Any]]:  # fmt: skip
    """The largest difference of probabilities, and how often the first class is the same.

    `adaptive` is left out: rounding may open its gate for another image. Its passes are compared.
    """
    folder = package.folder
    reference = Predictor.from_package(folder, precision="fp32", provider="cpu")
    tested = {p: Predictor.from_package(folder, precision=p, provider=provider) for p in precisions}
    apart: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for path in photos:
        if apart and left_s() <= 0:
            break
        data = path.read_bytes()
        for mode in set(reference.model.modes) - {"custom", "adaptive"}:
            (expected,) = reference.classify([data], mode)
            for precision, predictor in tested.items():
                (got,) = predictor.classify([data], mode)
                difference = np.abs(got.answer.probabilities - expected.answer.probabilities).max()
                row = (float(difference), got.label == expected.label)
                apart.setdefault((precision, mode), []).append(row)
    return [
        {
            "precision": precision,
            "mode": mode,
            "photos": len(rows),
            "largest_difference": max(difference for difference, _ in rows),
            "same_class": sum(same for _, same in rows),
            "agrees": precision == "int8" or max(d for d, _ in rows) <= PROBABILITY_TOLERANCE,
        }
        for (precision, mode), rows in sorted(apart.items())
    ]
