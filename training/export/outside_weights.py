"""Weights that another program trained: a safetensors file becomes what `export` starts from.

The file has torch's parameter names of the recipe's architecture. A JSON file beside it has the
normalization that the network was trained with (`mean` and `std` of R, G and B, in units of 0..1),
and may have `classes`, the class ids in the order of the logits.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from service.errors import DataError
from service.package.manifest import Normalization
from service.scoring.files import check_kind, read_bytes
from training.data.dataset import Split
from training.network import architecture
from training.recipe import Recipe
from training.run.checkpoint import Checkpoint


@dataclass(frozen=True)
class OutsideWeights:
    """The files of another program's weights, and what has to be known about them."""

    file: Path
    normalization: Path
    recipe: Recipe
    """Its architecture is that of the weights. The calibration split is made with its values."""
    origin: str
    """A sentence that says where the weights come from. The manifest and the card repeat it."""

    def checkpoint(self, images: Split) -> Checkpoint:
        """The weights, with the facts that a finished run of the recipe on `images` would have.

        Raises:
            DataError: a file cannot be read, or does not go with the recipe or with the classes.
        """
        stated = _stated(self.normalization)
        classes = stated.get("classes", list(images.classes))
        if classes != list(images.classes):
            raise DataError(
                f"{self.normalization} names the classes {', '.join(map(str, classes))}, but those "
                f"of the data are {', '.join(images.classes)}"
            )
        facts = {
            "recipe": self.recipe.to_json(),
            "classes": classes,
            "task": images.task,
            "fingerprint": images.fingerprint(),
            "normalization": _normalization(stated, self.normalization).model_dump(),
            "finished": True,
            "precision": None,
            "history": [],
            "weights_from": {
                "origin": self.origin,
                "file": self.file.name,
                "sha256": _sha256(self.file),
            },
        }
        return Checkpoint(_fitting(self.file, self.recipe, len(classes)), {}, facts)


def _stated(file: Path) -> dict[str, Any]:
    try:
        stated = json.loads(read_bytes(str(file)))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: a JSON file with mean and std is needed: {error}") from None
    if not isinstance(stated, dict) or not {"mean", "std"} <= stated.keys():
        raise DataError(f"{file} must be a JSON object with the keys mean and std")
    return stated


def _normalization(stated: dict[str, Any], file: Path) -> Normalization:
    try:
        rounded = {key: [round(float(v), 6) for v in stated[key]] for key in ("mean", "std")}
        return Normalization.model_validate({**rounded, "source": stated.get("source", "dataset")})
    except (TypeError, ValueError, ValidationError):
        raise DataError(
            f"{file}: mean and std must be three numbers each, in units of 0..1, std above 0"
        ) from None


def _fitting(file: Path, recipe: Recipe, classes: int) -> dict[str, torch.Tensor]:
    """The tensors as float32, checked against the network of `recipe`."""
    try:
        check_kind(str(file))
        found = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file} is not a safetensors file that can be read: {error}") from None
    own = architecture.build(recipe.architecture, classes).state_dict()
    # Batch counts exist in training only; a file need not have them.
    counts = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    found = {**counts, **found}
    if stray := sorted(own.keys() ^ found.keys()):
        missing = sum(key in own for key in stray)
        raise DataError(
            f"{file} is not of {recipe.architecture.name} with {classes} classes: {missing} of its "
            f"{len(own)} tensors are missing and {len(stray) - missing} are unknown, {stray[0]} "
            "first"
        )
    for key, value in own.items():
        if found[key].shape != value.shape:
            raise DataError(
                f"{file}: {key} must have the shape {list(value.shape)}, but got "
                f"{list(found[key].shape)}"
            )
    return {key: found[key].to(value.dtype) for key, value in own.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
