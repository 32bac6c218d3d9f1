"""What a caller may choose for an image: names, types, bounds, defaults and descriptions.

HTTP, OpenAPI, the Open Inference Protocol and the command line derive their options from this
model, so that all of them accept the same values.
"""

from collections.abc import Sequence
from math import isfinite
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from annotated_types import Ge, Le
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.option_text import AsText, boxes_of, explain, shown
from service.number_text import decimal_number
from service.package.manifest import Aggregation, Mode


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises UsageError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise UsageError(
            f"{name} must be a whole number of at least {least}, but got {shown(value)}"
        )


def _finite(name: str, value: Any) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, Real) and isfinite(value):
            return float(value)
    except OverflowError:  # a whole number that no float can hold
        pass
    raise UsageError(f"{name} must be a finite number, but got {shown(value)}")


def _number(value: Any, info: ValidationInfo) -> float:
    return _finite(str(info.field_name), value)


def _boxes(boxes: Any, info: ValidationInfo) -> tuple[FractionBox, ...]:
    # Imported here, so that `quincunx classify --help` need not load NumPy.
    from numpy import bool_

    if isinstance(boxes, str) or not isinstance(boxes, Sequence):
        raise UsageError(
            f"{info.field_name} must be a sequence of FractionBox, but got {shown(boxes)}"
        )
    checked = tuple(cast(Sequence[Any], boxes))
    for index, box in enumerate(checked):
        if not isinstance(box, FractionBox):
            raise UsageError(f"box {index} must be a FractionBox, but got {shown(box)}")
        for edge in ("left", "top", "right", "bottom"):
            _finite(f"{edge} of box {index}", getattr(box, edge))
        if not isinstance(cast(object, box.flip), (bool, bool_)):
            raise UsageError(f"flip of box {index} must be a bool, but got {shown(box.flip)}")
    return checked


def _known_rate(name: str, text: str) -> float | str:
    if text.strip() == OFF:
        return OFF
    number = decimal_number(text)
    if number is None:
        raise UsageError(f"{name} must be a number from 0 to 1, or {OFF}, but got {text[:80]!r}")
    return number


def _rate(value: Any, info: ValidationInfo) -> float | str:
    if isinstance(value, str) and value == OFF:
        return OFF
    number = _finite(str(info.field_name), value)
    if not 0 <= number <= 1:
        raise UsageError(
            f"{info.field_name} must be a number from 0 to 1, or {OFF}, but got {value}"
        )
    return number


OFF: Literal["off"] = "off"
FINITE = BeforeValidator(_number)
"""A finite number: neither a bool nor text."""
Boxes = Annotated[
    tuple[FractionBox, ...],
    BeforeValidator(_boxes),
    AsText(boxes_of, example="0,0,0.5,0.5;0.5,0.5,1,1,flip"),
]


KnownRate = Annotated[
    float | Literal["off"], BeforeValidator(_rate), AsText(_known_rate, example="0.99")
]
"""A share of images, or `off`."""


class Options(BaseModel):
    """What a caller may choose for an image.

    Raises:
        UsageError: an unknown option, or a value of a wrong type or out of bounds.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    tta: Mode | None = Field(
        default=None,
        description="Mode of test-time augmentation; by default the package's default mode",
    )
    aggregate: Aggregation = Field(default="mean", description="How the views become one answer")
    coverage: Annotated[float, Ge(0), Le(1), FINITE] | None = Field(
        default=None,
        description="Add the smallest set of classes that contains the true class this often",
    )
    gate_cost: Annotated[float, Ge(0), Le(100), FINITE] | None = Field(
        default=None, description="With tta=adaptive: the mean cost to spend, in single crops"
    )
    known_rate: KnownRate | None = Field(
        default=None,
        description="Accept this share of images of the model's classes; other images are unknown. "
        "off: no unknown score; by default the package's rate",
    )
    boxes: Boxes = Field(
        default=(),
        description="With tta=custom: left,top,right,bottom[,flip] of each crop, as fractions of "
        "the image, separated by semicolons",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _as_usage_error(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise UsageError(explain(error, cls.model_fields)) from None

    def in_mode(self, tta: Mode) -> Self:
        """The same options in mode `tta`; `gate_cost` is left out where there is no gate."""
        gate_cost = self.gate_cost if tta == "adaptive" else None
        if (tta, gate_cost) == (self.tta, self.gate_cost):
            return self  # a copy takes longer than the comparison
        return self.model_copy(update={"tta": tta, "gate_cost": gate_cost})
