"""Checkpoints without pickle: tensors in safetensors, everything else in JSON.

A run's folder holds ``checkpoint.safetensors`` and ``checkpoint.json``, replaced together after
every epoch, and ``history.csv``. The JSON is written last and names the tensors' digest, so a kill
between the two is noticed.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from service.errors import DataError, OutOfResources
from service.replacing import replacing_file

TENSORS = "checkpoint.safetensors"
STATE = "checkpoint.json"
PREVIOUS = ".previous"
NEW = f"{TENSORS}.new"


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights, the optimizer's state, and JSON facts about the run.

    If the run averages its weights (`Recipe.ema`), `weights` are the average, and `live` are the
    weights that training goes on with.
    """

    weights: dict[str, torch.Tensor]
    optimizer: Any
    facts: dict[str, Any]
    live: dict[str, torch.Tensor] = field(default_factory=dict)


def flatten(tree: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    """Replace every tensor of a tree of dicts, lists and scalars by a reference into `tensors`."""
    if isinstance(tree, torch.Tensor):
        tensors[path] = tree.detach().contiguous().clone()
        return {"$tensor": path}
    if isinstance(tree, dict):
        return {str(key): flatten(value, tensors, f"{path}.{key}") for key, value in tree.items()}
    if isinstance(tree, list | tuple) or type(tree).__name__ == "L":
        return [flatten(value, tensors, f"{path}.{i}") for i, value in enumerate(tree)]
    return tree.item() if hasattr(tree, "item") else tree


def unflatten(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Undo `flatten`."""
    if isinstance(tree, dict):
        if set(tree) == {"$tensor"}:
            return tensors[tree["$tensor"]]
        return {key: unflatten(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    return tree


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint. After a kill at any moment, this one or the last one is complete.

    Raises:
        OutOfResources: the disk is full, or the folder cannot be written; the last one is complete.
    """
    try:
        _save(folder, checkpoint)
    except (OSError, SafetensorError) as error:
        (folder / NEW).unlink(missing_ok=True)  # room for others, where the disk is full
        reason = getattr(error, "strerror", None) or error
        raise OutOfResources(
            f"no checkpoint can be written in {folder} ({reason}); the checkpoint of an earlier "
            "epoch stays, if there is one. Make room, then continue with --resume"
        ) from error


def _save(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    groups = {"weights": checkpoint.weights, "live": checkpoint.live}
    tensors = {
        f"{group}.{name}": value.detach().contiguous()
        for group, values in groups.items()
        for name, value in values.items()
    }
    optimizer = flatten(checkpoint.optimizer, tensors, "optimizer")
    new = folder / NEW
    save_file(tensors, new)
    state = {"sha256": _sha256(new), "optimizer": optimizer, "facts": checkpoint.facts}
    if _named_by_state(folder):
        os.replace(folder / TENSORS, folder / f"{TENSORS}{PREVIOUS}")
    os.replace(new, folder / TENSORS)
    with replacing_file(folder / STATE) as stream:
        stream.write(json.dumps(state).encode())


def _named_by_state(folder: Path) -> bool:
    """Whether the newest tensors belong to the JSON. After a kill they may be newer than the JSON;
    then the previous tensors are kept."""
    if not (folder / TENSORS).exists() or not (folder / STATE).exists():
        return False
    named = json.loads((folder / STATE).read_text(encoding="utf-8"))["sha256"]
    return _sha256(folder / TENSORS) == named


def load(folder: Path) -> Checkpoint:
    """Read the newest complete checkpoint of `folder`.

    Raises:
        DataError: there is none, or its tensors do not belong to its JSON.
    """
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"no checkpoint in {folder}: name the folder of a run, such as runs/NAME"
        ) from None
    for name in (TENSORS, f"{TENSORS}{PREVIOUS}"):
        path = folder / name
        if path.exists() and _sha256(path) == state["sha256"]:
            tensors = load_file(path)
            weights, live = (_group(tensors, group) for group in ("weights", "live"))
            optimizer = unflatten(state["optimizer"], tensors)
            return Checkpoint(weights, optimizer, state["facts"], live)
    raise DataError(f"the tensors in {folder} are not the ones {STATE} was written for")


def _group(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
