"""Parts of the manifest that use no other part: the base of all parts, and the unknown score."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_CHANNELS = 65_536
"""The largest number of values in an embedding."""
MAX_STATISTICS_BYTES = 2**20
"""The largest size of the file with the data of an unknown score."""
DEFAULT_KNOWN_RATE = 0.95
TOP_PROBABILITY_BINS = 20
"""Bins of equal width from 0 to 1, in which a reference counts the top probability."""

Precision = Literal["fp32", "fp16", "int8"]
Mode = Literal["none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive", "custom"]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(ge=1e-9, le=1e12)]
Centre = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Bounds that keep every score a float32."""
UnknownKind = Literal["logit_and_residual"]


class Part(BaseModel):
    """A frozen part of the manifest. An unknown key is an error, because it may be a typo."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scale(Part):
    """The centre and the spread of a measure on the calibration images."""

    centre: Centre
    spread: Spread


class UnknownModel(Part):
    """How the unknown score of an image is computed: see `service.inference.unknown`.

    The same for all modes and precisions. Their thresholds differ: `ModeCalibration.unknown_curve`.
    """

    kind: UnknownKind = "logit_and_residual"
    """`logit_and_residual`: how low the largest logit is, and how far the embedding lies from the
    directions in which embeddings of training images vary."""
    file: str
    """Beside the manifest: a .npy file, float16[1 + D, C]. The mean embedding, then D orthonormal
    directions."""
    size_bytes: int = Field(gt=0, le=MAX_STATISTICS_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    logit: Scale
    """The scale of minus the largest logit."""
    residual: Scale
    """The scale of the logarithm of the distance from the directions."""
    residual_weight: float = Field(default=2.0, ge=0, le=100)
    """The weight of the residual; the weight of the logit is 1."""
    known_rate: Share = DEFAULT_KNOWN_RATE
    """The share of images of the model's classes that is accepted, unless a request says more."""
    images: int = Field(ge=1)
    """The number of images on which the mean and the directions were fitted."""
    held_out: bool
    """False: they were fitted on the calibration images, because no training images were given."""

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.npy", value):
            raise ValueError(f"the file is a plain name ending in .npy, but got {value!r}")
        return value


CurvePoint = tuple[Share, float]
"""A known rate, and the threshold at which this share of images is accepted."""


def check_curve(curve: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
    """Raises ValueError unless both known rates and thresholds rise."""
    rates, thresholds = [rate for rate, _ in curve], [threshold for _, threshold in curve]
    if not curve:
        raise ValueError("unknown_curve must have a point, or be null")
    if rates != sorted(set(rates)) or thresholds != sorted(thresholds):
        raise ValueError("the known rates and thresholds of unknown_curve must rise")
    return curve


class Reference(Part):
    """Distributions of the answers to the calibration images.

    Drift compares later answers with them. Shares sum to 1.
    """

    images: int = Field(ge=1)
    top_probability: tuple[Share, ...] = Field(
        min_length=TOP_PROBABILITY_BINS, max_length=TOP_PROBABILITY_BINS
    )
    """In bins of equal width from 0 to 1."""
    classes: tuple[Share, ...] = Field(min_length=1)
    """How often each class was the answer, in the order of the logits."""
    unknown_edges: tuple[float, ...] = ()
    """The edges between the bins of `unknown`: thresholds of the curve."""
    unknown: tuple[Share, ...] = ()
    """Shares of the unknown scores: below the first edge, between edges, and above the last
    edge."""

    @model_validator(mode="after")
    def _bins_fit(self) -> "Reference":
        if list(self.unknown_edges) != sorted(self.unknown_edges):
            raise ValueError("unknown_edges must rise")
        bins = len(self.unknown_edges) + 1 if self.unknown_edges else 0
        if len(self.unknown) != bins:
            raise ValueError(f"unknown must have {bins} bins, but has {len(self.unknown)}")
        return self
