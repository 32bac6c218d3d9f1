"""Where the answers come from that a package is calibrated on: one network, or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service.package.manifest import Manifest
from training.evaluation.predictions import LabelledFile


class Fold(NamedTuple):
    """A package, and images that its network was not trained on."""

    package: Path
    items: Sequence[LabelledFile]


def with_calibration(manifest: Manifest, sources: Sequence[Fold]) -> dict[str, Any]:
    """The provenance of a manifest, with a note on how many images and networks calibrated it."""
    images = sum(len(fold.items) for fold in sources)
    return {**manifest.provenance, "calibration": {"images": images, "networks": len(sources)}}
