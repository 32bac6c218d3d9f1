"""What a caller may choose for an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast, get_args

import numpy as np

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.package.manifest import Aggregation, Mode


@dataclass(frozen=True)
class Options:
    """What a request may choose.

    Raises:
        UsageError: a value of a wrong type, or a name that is none.
    """

    tta: Mode = "five_crop"
    aggregate: Aggregation = "mean"
    coverage: float | None = None
    """Ask for a prediction set with this coverage."""
    gate_cost: float | None = None
    """`adaptive`: the mean cost in single crops to spend, instead of the package's choice."""
    boxes: tuple[FractionBox, ...] = ()
    """`custom`: the views, as fractions of the image."""

    def __post_init__(self) -> None:
        _check_name("tta", self.tta, get_args(Mode))
        _check_name("aggregate", self.aggregate, get_args(Aggregation))
        for name in ("coverage", "gate_cost"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name))
        if self.boxes != ():
            object.__setattr__(self, "boxes", _checked_boxes(self.boxes))


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises UsageError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UsageError(
            f"{name} must be a whole number of at least {least}, but got {_shown(value)}"
        )


def _check_name(name: str, value: Any, names: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in names:
        raise UsageError(f"{name} must be one of {', '.join(names)}, but got {_shown(value)}")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number, but got {_shown(value)}")


def _checked_boxes(boxes: Any) -> tuple[FractionBox, ...]:
    if isinstance(boxes, str) or not isinstance(boxes, Sequence):
        raise UsageError(f"boxes must be a sequence of FractionBox, but got {_shown(boxes)}")
    checked = tuple(cast(Sequence[Any], boxes))
    for index, box in enumerate(checked):
        if not isinstance(box, FractionBox):
            raise UsageError(f"box {index} must be a FractionBox, but got {_shown(box)}")
        for edge in ("left", "top", "right", "bottom"):
            _check_number(f"{edge} of box {index}", getattr(box, edge))
        if not isinstance(cast(object, box.flip), (bool, np.bool_)):
            raise UsageError(f"flip of box {index} must be a bool, but got {_shown(box.flip)}")
    return checked


def _shown(value: Any) -> str:
    return f"{str(value)[:80]!r} ({type(value).__name__})"
