"""`python:MODULE:FUNCTION`: a function of the user's code that returns a torch module."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from service.errors import ImportRefused, UsageError
from training.imports.given import Given
from training.imports.modules.source import ModuleSource
from training.imports.sources.extras import library

ATTRIBUTES = (
    "mean", "std", "crop_px", "resize_px", "interpolation", "fit", "labels", "activation",
)  # fmt: skip
FORM = "python:MODULE:FUNCTION, as in python:my_models:classifier or python:my_models.py:classifier"


def read(name: str, given: Given) -> ModuleSource:
    """The module that the function returns, and the attributes that it carries.

    They say what the package needs: `mean`, `std`, `crop_px`, `resize_px`, `interpolation`, `fit`,
    `labels`, `activation`. Options take their place.

    Raises:
        UsageError: no such function.
        ImportRefused: the function fails, or returns no torch module.
    """
    if given.weights is not None:
        raise UsageError("--weights is for timm and torchvision: load the weights in the function")
    nn = library("torch.nn", "train")
    importlib.import_module("training.torchvision_compat")  # the user's code may need torchvision
    place, _, function = name.rpartition(":")
    if not place or not function.isidentifier():
        raise UsageError(f"python:{name}: the form is {FORM}")
    code = _imported(place)
    make = getattr(code, function, None)
    if not callable(make):
        raise UsageError(f"python:{name}: {place} has no function {function}")
    try:
        module = make()
    except Exception as error:  # of the user's code
        raise ImportRefused(f"python:{name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ImportRefused(
            f"python:{name} returns a {type(module).__name__}; a torch.nn.Module is needed"
        )
    return described(f"python:{Path(place).name}:{function}", module)


def described(name: str, module: Any, **facts: Any) -> ModuleSource:
    """The attributes of the module that say how it is used."""
    said: dict[str, Any] = {
        key: getattr(module, key) for key in ATTRIBUTES if _plain(getattr(module, key, None))
    }
    for key in ("mean", "std"):
        if key in said:
            value = said[key]
            values = [value] * 3 if isinstance(value, (int, float)) else list(value)
            if len(values) != 3:
                raise UsageError(f"{name}: {key} must be 3 numbers, but has {len(values)}")
            said[key] = tuple(float(one) for one in values)
    if "mean" in said and "std" in said:
        said["statistics_from"] = "attributes of the module"
    return ModuleSource(name=name, module=module, architecture=type(module).__name__, **said)


def _plain(value: object) -> bool:
    """An attribute such as a layer or a method is not what a package needs."""
    return isinstance(value, (int, float, str, list, tuple))


def _imported(place: str) -> ModuleType:
    """A module by its name, or a file. The current folder counts as Python's own command has it."""
    try:
        if place.endswith(".py"):
            path = Path(place)
            spec = importlib.util.spec_from_file_location(path.stem, path)
            if spec is None or spec.loader is None or not path.is_file():
                raise UsageError(f"python:{place}: no such file")
            code = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(path.stem, code)
            spec.loader.exec_module(code)
            return code
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(place)
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        if error.name == place.split(".")[0]:
            raise UsageError(
                f"python:{place}: no module {place}; it is looked for in the current folder and in "
                "what is installed"
            ) from None
        raise ImportRefused(f"{place} needs {error.name}, which is not installed") from error
    except Exception as error:  # of the user's code
        raise ImportRefused(f"{place} fails: {type(error).__name__}: {error}") from error
