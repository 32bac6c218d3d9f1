"""Answers for real photos: every mode and precision against fp32 on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.engine import PROBABILITY_TOLERANCE, Clock
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.listing.image_files import DECODED_SUFFIXES
from service.package.manifest import Mode, Precision
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

    Rounding may open the gate of `adaptive` for another image. So its probabilities are compared
    where both ran the same number of passes, and these images are counted.
    """
    folder = package.folder
    reference = Predictor.from_package(folder, precision="fp32", provider="cpu")
    tested = {p: Predictor.from_package(folder, precision=p, provider=provider) for p in precisions}
    for predictor in tested.values():
        predictor.warm_up()  # as the service does: the graphs are recorded before the first photo
    modes: list[Mode] = [mode for mode in reference.model.modes if mode != "custom"]
    apart: dict[tuple[str, str], list[tuple[float, bool, bool]]] = {}
    for path in photos:
        if apart and left_s() <= 0:
            break
        data = path.read_bytes()
        for mode in modes:
            (expected,) = reference.classify([data], mode)
            for precision, predictor in tested.items():
                (got,) = predictor.classify([data], mode)
                difference = np.abs(got.answer.probabilities - expected.answer.probabilities).max()
                same_passes = got.answer.passes == expected.answer.passes
                row = (float(difference), got.label == expected.label, same_passes)
                apart.setdefault((precision, mode), []).append(row)
    rows: list[dict[str, Any]] = []
    for (precision, mode), found in sorted(apart.items()):
        differences = [difference for difference, _, same in found if same]
        largest = float(np.max(differences, initial=0.0))  # NaN, if any is NaN
        rows.append(
            {
                "precision": precision,
                "mode": mode,
                "photos": len(found),
                "same_passes": sum(same for _, _, same in found),
                "largest_difference": largest,
                "same_class": sum(same for _, same, _ in found),
                "agrees": precision == "int8" or largest <= PROBABILITY_TOLERANCE,
            }
        )
    return rows
