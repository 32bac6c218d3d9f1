"""What a manifest says of the origin of its package: recipe, data, training, libraries."""

import platform
from typing import Any

from service.version import installed
from training.data.content.sketch import Sketch
from training.data.dataset import Split

LIBRARIES = ("torch", "fastai", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime", "pillow")


def provenance_of(facts: dict[str, Any], seed: int, images: Split) -> dict[str, Any]:
    """The provenance of a package, from the facts of its checkpoint and its images."""
    return {
        "recipe": facts["recipe"],
        "seed": seed,
        "started_from": facts.get("started_from"),
        "averaged": facts.get("averaged"),
        "teacher": facts.get("teacher"),
        "planned_minutes": (facts.get("plan") or {}).get("minutes"),
        "weights_from": facts.get("weights_from"),
        "dataset": {
            "fingerprint": facts["fingerprint"],
            "content": Sketch.of(item.path for item in images.train).to_json(),
            **({"flat": True} if images.flat else {}),
            "training_images": len(images.train),
            "calibration_images": len(images.calibration),
            "skipped_files": images.skipped.files,
        },
        **({} if facts.get("weights_from") else _training(facts)),
        "libraries": installed(LIBRARIES),
        "python": platform.python_version(),
    }


def _training(facts: dict[str, Any]) -> dict[str, Any]:
    history: list[dict[str, Any]] = facts["history"]
    return {
        "finished": facts["finished"],
        "training_precision": facts["precision"],
        "epochs": len(history),
        "training_seconds": round(sum(row["seconds"] for row in history)),
        "history": history,
    }
