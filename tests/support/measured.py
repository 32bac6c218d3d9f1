"""Packages with recorded metrics, without measuring anything."""

from pathlib import Path
from typing import Any

from service.package.card.document import write_model_card
from service.package.manifest import Manifest, Metrics, Mode, PairedMetrics, Precision
from service.package.package import ModelPackage
from service.package.recorded.dependence import answers_digest
from training.export.writer import write_manifest

MEASURED: tuple[Mode, ...] = ("none", "five_crop", "dense", "centre_dense", "adaptive")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
PAIR = PairedMetrics(
    corrected=3,
    spoiled=2,
    difference=0.01,
    interval=(-0.02, 0.03),
    p_value=1.0,
    nll_difference=-0.01,
    nll_interval=(-0.02, 0.0),
)
IMAGES, OTHERS = "0123456789abcdef", "fedcba9876543210"


def row(precision: Precision, mode: Mode, manifest: Manifest | None = None, **fields: Any):
    """The metrics of one mode, with a comparison wherever there can be one."""
    made: dict[str, Any] = {
        "precision": precision,
        "mode": mode,
        "images": 100,
        "images_digest": IMAGES if manifest else None,
        "answers_digest": answers_digest(manifest, precision, mode) if manifest else None,
        "top1": 0.9,
        "top1_interval": (0.85, 0.95),
        "nll": 0.3,
        "ece": 0.02,
        "against_single": None if mode == "none" else PAIR,
        "against_fp32": None if precision == "fp32" else PAIR,
    }
    return Metrics.model_validate(made | fields)


def with_metrics(manifest: Manifest, *, digests: bool = True) -> Manifest:
    """`manifest` with a row for each precision and mode; without digests as version 0.5 wrote."""
    rows = [row(p, m, manifest if digests else None) for p in PRECISIONS for m in MEASURED]
    return manifest.model_copy(update={"metrics": tuple(rows)})


def record(folder: Path, *, digests: bool = True) -> Path:
    """Give the package in `folder` such metrics, and a card."""
    write_manifest(folder, with_metrics(ModelPackage.load(folder).manifest, digests=digests))
    write_model_card(folder)
    return folder
