"""`manifest.json`: everything that is true of a model, wherever it is deployed.

The contract between ``training``, which writes it, and ``service``, which reads it. Settings of a
deployment have no place in it.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from service.package import manifest_checks

SCHEMA_VERSION = 1
STRIDE_PX = 32
MAX_SIDE_PX = 3136
"""The largest side that a square image may be resized to: see `views.MOST_ENLARGED_PX`."""
MAX_NAME_LENGTH = 500
"""Characters of a class's id or name: every answer repeats them."""
MAX_GRAPH_BYTES = 2**31 - 1
"""What an ONNX file without external data can hold."""

Precision = Literal["fp32", "fp16", "int8"]
TaskName = Literal["single_label", "multi_label"]
Mode = Literal["none", "five_crop", "ten_crop", "dense", "adaptive", "custom"]
SecondMode = Literal["none", "dense", "five_crop"]
Aggregation = Literal["mean", "max", "gmean", "logit_mean", "weighted"]
Decode = Literal["exact", "scaled"]
GateKind = Literal["probability", "margin", "entropy", "normalized_logits"]

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
"""Far beyond these the softmax of tempered logits is no longer a number."""
Count = Annotated[int, Field(ge=0)]
SidePx = Annotated[int, Field(gt=0, le=MAX_SIDE_PX, multiple_of=STRIDE_PX)]

VERSION_PATTERN = r"^[0-9]+(\.[0-9]+){0,2}$"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Part(BaseModel):
    """A frozen part of the manifest; an unknown key is an error, not a typo passed over."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Label(Part):
    """One class: its index in the logits, its stable id (a folder name), its name for people."""

    index: int
    id: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)

    @field_validator("id", "name")
    @classmethod
    def _to_be_read(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it must not be blank")
        return value


class InputSize(Part):
    """How an image becomes views: sides in pixels, multiples of the stride."""

    crop_px: SidePx
    resize_px: SidePx
    interpolation: Literal["bilinear"] = "bilinear"
    decode: Decode = "exact"
    """`exact`: every pixel of a file is decoded, then resized. `scaled`: a JPEG that is much larger
    than the views is scaled down by its decoder first."""
    decode_factor: int = Field(default=3, ge=1, le=8)
    """`scaled`: how many times larger than the views a decoded image stays at least."""

    @model_validator(mode="after")
    def _crop_fits(self) -> "InputSize":
        if self.resize_px < self.crop_px:
            raise ValueError(
                f"resize_px must be at least crop_px, but got {self.resize_px} < {self.crop_px}"
            )
        return self


class Normalization(Part):
    """Per-channel statistics in units of 0..1; the graph applies them itself."""

    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    source: str


class OnnxFile(Part):
    """One graph of the package."""

    file: str
    precision: Precision
    size_bytes: int = Field(gt=0, le=MAX_GRAPH_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.onnx", value):
            raise ValueError(f"an ONNX file is a plain name ending in .onnx, but got {value!r}")
        return value


class Metrics(Part):
    """What `quincunx evaluate` measured for one precision and mode on the validation set."""

    precision: Precision
    mode: Mode
    images: Count
    top1: Share
    top1_interval: tuple[Share, Share]
    top5: Share | None = None
    nll: float = Field(ge=0)
    ece: Share


class MultiLabelMetrics(Part):
    """The same of a multi-label model: `map` is the mean over classes of the average precision."""

    precision: Precision
    mode: Mode
    images: Count
    map: Share
    map_interval: tuple[Share, Share]
    micro_f1: Share
    """Of all answers together, at the fitted thresholds."""
    macro_f1: Share
    """The mean over classes."""
    nll: float = Field(ge=0)
    """Binary, the mean over images and classes, in nats."""
    average_precision: dict[str, Share] = Field(default_factory=dict)
    """Of each class by its id; a class that no image has is left out."""


class Gate(Part):
    """The cheap pass of `adaptive` is trusted where `kind`'s value is at least `threshold`."""

    kind: GateKind
    threshold: float
    expected_cost: Positive
    """Mean cost in single crops, as expected on the calibration split."""
    conformal: dict[str, Share] = Field(default_factory=dict)
    """As `ModeCalibration.conformal`, of the answers that this gate gives: of `gate_curve` only."""


class ModeCalibration(Part):
    """What was fitted for one precision and mode on the calibration split."""

    precision: Precision
    mode: Mode
    temperature: Temperature = 1.0
    """Divides the log of the aggregated probabilities: refitted after aggregation.

    Of `adaptive`: for the answers of its first pass alone.
    """
    second_share: float = Field(default=1.0, gt=0, le=1)
    """`adaptive` only: how much the second pass counts in the answer of both passes."""
    second_temperature: Temperature = 1.0
    """`adaptive` only: for the mixture of both passes, each tempered by its own before."""
    view_weights: tuple[Share, ...] | None = None
    """Weights of the views for `aggregate="weighted"`, summing to 1."""
    conformal: dict[str, Share] = Field(default_factory=dict)
    """Coverage ("0.95") to the quantile of the split-conformal score."""
    thresholds: dict[Aggregation, tuple[Share, ...]] = Field(
        default_factory=dict[Aggregation, tuple[Share, ...]]
    )
    """`multi_label` only: for each way to aggregate, the probability from which on each class
    counts as present, in the order of the logits."""
    gate: Gate | None = None
    gate_curve: tuple[Gate, ...] = ()
    """`adaptive` only: thresholds along the cost, for `--gate-cost`."""


class Adaptive(Part):
    """Which passes `adaptive` runs."""

    first_px: SidePx
    """Shorter side of the image of the first pass."""
    first_crop_px: SidePx | None = None
    """Cut the centre crop of this side out of it; None runs the whole image."""
    first_inset: bool = False
    """Read the whole image through a window half a stride inside it on every side, so that the
    border of the class map, which saw padding, counts half."""
    second: SecondMode = "dense"
    """What runs where the first pass is not sure; `none` is the crop that is served."""

    @model_validator(mode="after")
    def _first_fits(self) -> "Adaptive":
        if self.first_crop_px is not None and self.first_crop_px > self.first_px:
            raise ValueError(
                f"first_crop_px must be at most first_px, but got {self.first_crop_px} > "
                f"{self.first_px}"
            )
        if self.first_inset and self.first_px < 2 * STRIDE_PX:
            raise ValueError(
                f"first_inset needs a first_px of at least {2 * STRIDE_PX}, but got {self.first_px}"
            )
        return self


class Manifest(Part):
    """A model package, described."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    version: str = Field(pattern=VERSION_PATTERN)
    architecture: dict[str, Any]
    task: TaskName = "single_label"
    """`single_label`: one class is true of an image; `multi_label`: any number of them, or none."""
    labels: tuple[Label, ...] = Field(min_length=1)
    input: InputSize
    normalization: Normalization
    files: tuple[OnnxFile, ...] = Field(min_length=1)
    provenance: dict[str, Any] = Field(default_factory=dict)
    metrics: tuple[Metrics, ...] = ()
    multi_label_metrics: tuple[MultiLabelMetrics, ...] = ()
    calibration: tuple[ModeCalibration, ...] = ()
    adaptive: Adaptive | None = None
    default_mode: Mode = "five_crop"

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        if not NAME_PATTERN.fullmatch(value):
            raise ValueError(
                f"a name is lower case letters, digits, '.', '_', '-', but got {value!r}"
            )
        return value

    @model_validator(mode="after")
    def _parts_agree(self) -> "Manifest":
        manifest_checks.check(self)
        return self

    def calibration_for(self, precision: Precision, mode: Mode) -> ModeCalibration:
        """What was fitted for `precision` and `mode`; neutral where nothing was."""
        for entry in self.calibration:
            if (entry.precision, entry.mode) == (precision, mode):
                return entry
        return ModeCalibration(precision=precision, mode=mode)
