"""Packages whose modes have references for drift."""

import json
from pathlib import Path

from service.package.parts import TOP_PROBABILITY_BINS


def with_references(folder: Path) -> Path:
    """Give every mode of a package the reference of an even data set."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    classes = len(manifest["labels"])
    even = [1 / TOP_PROBABILITY_BINS] * TOP_PROBABILITY_BINS
    for entry in manifest["calibration"]:
        entry["reference"] = {
            "images": 1000, "top_probability": even, "classes": [1 / classes] * classes,
        }  # fmt: skip
    path.write_text(json.dumps(manifest))
    return folder
