"""Weights from a file: safetensors, or a .pth file that is read without running code from it."""

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from service.console.text import reason_of
from service.errors import ImportRefused, UsageError

WRAPPED = ("state_dict", "model_state_dict", "model", "model_ema", "state_dict_ema", "weights")
"""Keys under which checkpoints keep the weights beside an optimizer and others."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers (DataParallel, torch.compile, Lightning) put in front of every name."""
SHOWN = 3
PROBE_CLASSES = 7919
"""A number of classes that no layer has as its width."""


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    A .pth file is a pickle. torch reads it with `weights_only=True`: only tensors and plain values
    are made, and no code of the file runs.

    Raises:
        UsageError: no such file.
        ImportRefused: the file cannot be read, or holds no weights.
    """
    if not path.is_file():
        raise UsageError(f"--weights {path}: no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise ImportRefused(f"{path} is not a safetensors file: {error}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the protocol of other pickles
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ImportRefused(
            f"{path} holds more than tensors, and reading that may run code of the file. Save the "
            "weights alone: torch.save(model.state_dict(), FILE)"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ImportRefused(f"{path} is not a file of weights: {reason_of(error)}") from None
    return _tensors(found, path)


def _tensors(found: object, path: Path) -> dict[str, Tensor]:
    while isinstance(found, Mapping):
        inner = next((found[key] for key in WRAPPED if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping):
        raise ImportRefused(f"{path} holds a {type(found).__name__}, but no weights by name")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ImportRefused(f"{path} holds no weights")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def classes(tensors: Mapping[str, Tensor], layer: str, path: Path) -> int:
    """The number of classes, from the shape of the last layer.

    Raises:
        ImportRefused: the file has no such layer.
    """
    for name in (f"{layer}.weight", f"{layer}.fc.weight"):
        if name in tensors:
            return tensors[name].shape[0]
    raise ImportRefused(
        f"{path} has no {layer}.weight, the last layer of the model; it has {_shown(tensors)}"
    )


def head_names(probe: nn.Module) -> list[str]:
    """The weights whose shape follows from the number of classes, in a network of PROBE_CLASSES."""
    return [name for name, value in probe.state_dict().items() if PROBE_CLASSES in value.shape]


def load(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load `tensors` into `module`: all of them, and all of its weights.

    Raises:
        ImportRefused: names or shapes differ.
    """
    own = module.state_dict()
    # Batch counts exist in training only; a file need not have them.
    counts = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    tensors = {**counts, **tensors}
    if missing := [name for name in own if name not in tensors]:
        raise ImportRefused(
            f"{path} lacks {len(missing)} of {len(own)} weights of the model: {_shown(missing)}"
        )
    if stray := [name for name in tensors if name not in own]:
        raise ImportRefused(
            f"{path} has {len(stray)} weights that the model does not have: {_shown(stray)}"
        )
    for name, value in own.items():
        if tensors[name].shape != value.shape:
            raise ImportRefused(
                f"{path}: {name} must have the shape {list(value.shape)}, but has "
                f"{list(tensors[name].shape)}"
            )
    module.load_state_dict(tensors)


def _shown(names: Iterable[str]) -> str:
    found = [re.sub(r"[^\w.]", "?", name) for name in names]
    return ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
