"""What the user named of a model that is imported; None: not named."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from service.console.nearest import with_hint
from service.errors import UsageError
from service.package.manifest import Decode, Fit, InputSize, Interpolation
from training.surgery.wanted import Activation, Channels, Layout, Triple

NORMALIZATIONS: dict[str, tuple[Triple, Triple]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0..255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
"""Names for mean and std, in units of 0..1. The last two are for models that normalize inside: they
take pixels from 0 to 1, or from 0 to 255."""


@dataclass(frozen=True)
class Given:
    """The options of an import. What a source says itself need not be named."""

    labels: str | None = None
    """A file, or "numbers"."""
    normalization: str | None = None
    mean: Triple | None = None
    std: Triple | None = None
    crop_px: int | None = None
    resize_px: int | None = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    layout: Layout | None = None
    channels: Channels = "RGB"
    activation: Activation | None = None
    output: str | None = None
    decode: Decode = "exact"
    photos: Path | None = None
    version: str = "1"
    weights: Path | None = None
    """A file of weights, for sources that have an architecture by name."""
    trust_pickle: bool = False

    def statistics(self) -> tuple[Triple, Triple] | None:
        """Mean and std, where they were named.

        Raises:
            UsageError: a name that is unknown, only one of mean and std, or both ways at once.
        """
        if self.normalization is not None:
            if self.mean or self.std:
                raise UsageError("--normalization and --mean, --std are two ways to say the same")
            if self.normalization not in NORMALIZATIONS:
                message = (
                    f"--normalization {self.normalization}: it is one of "
                    f"{', '.join(NORMALIZATIONS)}; others with --mean R,G,B --std R,G,B"
                )
                raise UsageError(with_hint(message, self.normalization, NORMALIZATIONS))
            return NORMALIZATIONS[self.normalization]
        if (self.mean is None) != (self.std is None):
            raise UsageError("--mean and --std go together")
        if self.mean is None or self.std is None:
            return None
        return self.mean, self.std


def triple(text: str | None, option: str, *, positive: bool = False) -> Triple | None:
    """``"0.485,0.456,0.406"`` -> three numbers; one number counts for every channel.

    Raises:
        UsageError: not one or three finite numbers, or a std that is not positive.
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    low = 0.0 if positive else float("-inf")
    if len(numbers) != 3 or not all(low < number < float("inf") for number in numbers):
        raise UsageError(
            f"{option} {text}: three {'positive ' if positive else ''}numbers in units of 0..1, as "
            "in 0.485,0.456,0.406"
        )
    return numbers[0], numbers[1], numbers[2]


def one_of(text: str | None, kind: object, option: str) -> str | None:
    """A value of a Literal type.

    Raises:
        UsageError: another value.
    """
    if text is not None and text not in get_args(kind):
        message = f"{option} {text}: it is one of {', '.join(get_args(kind))}"
        raise UsageError(with_hint(message, text, get_args(kind)))
    return text


def input_size(
    crop_px: int,
    resize_px: int,
    interpolation: Interpolation,
    decode: Decode = "exact",
    fit: Fit = "shorter_side",
) -> InputSize:
    """How a package makes views.

    Raises:
        UsageError: sizes that do not go together.
    """
    try:
        return InputSize(
            crop_px=crop_px,
            resize_px=resize_px,
            interpolation=interpolation,
            fit=fit,
            decode=decode,
        )
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        if first["loc"]:
            reason = f"{first['loc'][0]}: {reason}, but got {str(first['input'])[:80]!r}"
        raise UsageError(f"crop {crop_px} px, resize {resize_px} px: {reason}") from None
