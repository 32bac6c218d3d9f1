"""`manifest.json`: the facts about a model, the same in every deployment.

The contract between ``training``, which writes it, and ``service``, which reads it. Settings of a
deployment have no place in it.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from service.package import manifest_checks, manifest_graph_checks
from service.package.parts import (
    MAX_CHANNELS,
    CurvePoint,
    Mode,
    Part,
    Precision,
    Reference,
    Share,
    UnknownModel,
    check_curve,
)
from service.package.recorded.metrics import Metrics, MultiLabelMetrics
from service.package.recorded.metrics import PairedLabelMetrics as PairedLabelMetrics
from service.package.recorded.metrics import PairedMetrics as PairedMetrics

SCHEMA_VERSION = 2
"""The version that is written. Version 1, which older packages have, can be read too: see
`manifest_graph_checks`."""
STRIDE_PX = 32
"""The stride of our own networks and of every package of version 1."""
MAX_SIDE_PX = 3136
"""The largest side that a square image may be resized to: see `views.MOST_ENLARGED_PX`."""
MAX_NAME_LENGTH = 500
"""Characters of a class's id or name: every answer repeats them."""
MAX_GRAPH_BYTES = 2**31 - 1
"""What an ONNX file without external data can hold."""

TaskName = Literal["single_label", "multi_label"]
SecondMode = Literal["none", "dense", "five_crop"]
Aggregation = Literal["mean", "max", "gmean", "logit_mean", "weighted"]
Decode = Literal["exact", "scaled"]
Interpolation = Literal["bilinear", "bicubic"]
Fit = Literal["shorter_side", "squash"]
GraphKind = Literal["class_map", "windows", "crops"]
GateKind = Literal["probability", "margin", "entropy", "normalized_logits"]

EQUAL_SHARE = 0.5
"""The weight of each of two passes, by default."""

Positive = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
"""Far beyond these the softmax of tempered logits is no longer a number."""
SidePx = Annotated[int, Field(gt=0, le=MAX_SIDE_PX)]

VERSION_PATTERN = r"^[0-9]+(\.[0-9]+){0,2}$"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


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
    """How an image becomes views: sides in pixels."""

    crop_px: SidePx
    resize_px: SidePx
    interpolation: Interpolation = "bilinear"
    """The filter of every resize. Both are antialiased, as Pillow's are."""
    fit: Fit = "shorter_side"
    """`shorter_side`: the photo keeps its shape, and its shorter side becomes `resize_px`.
    `squash`: both sides become `resize_px`, so a photo that is not square changes its shape. For a
    square photo the two are the same."""
    decode: Decode = "exact"
    """`exact`: every pixel of a file is decoded, then the image is resized. `scaled`: if a JPEG is
    much larger than the views, its decoder scales it down first."""
    decode_factor: int = Field(default=3, ge=1, le=8)
    """`scaled`: the least size of a decoded image, as a multiple of the size of the views."""

    @model_validator(mode="after")
    def _crop_fits(self) -> "InputSize":
        if self.resize_px < self.crop_px:
            raise ValueError(
                f"resize_px must be at least crop_px, but got {self.resize_px} < {self.crop_px}"
            )
        return self


class Graph(Part):
    """What the graphs of a package compute, and for images of which sizes."""

    kind: GraphKind = "class_map"
    """`class_map`: logits and a class map, whose mean over a window is the logits of the window.
    `windows`: takes windows beside the images, and gives the logits of each. `crops`: logits only.
    """
    sizes: Literal["dynamic"] | tuple[tuple[SidePx, SidePx], ...] = "dynamic"
    """`dynamic`: any height and width of at least `smallest_px`. Otherwise the pairs of height and
    width that were checked; other sizes are not accepted."""
    stride_px: SidePx = STRIDE_PX
    """Pixels between neighbouring cells of the last features. The sides of a pass over a whole
    image are multiples of it."""
    smallest_px: SidePx = STRIDE_PX
    """The smallest side that the graph accepts."""
    embedding: int | None = Field(default=None, ge=1, le=MAX_CHANNELS)
    """C of the output `embedding float32[N, C]`: the features before the head, averaged over all
    positions of the image that the graph is given. None: the graphs have no such output."""

    @property
    def takes_whole_images(self) -> bool:
        """Whether a photo of any shape can run in one pass, from which windows can be computed."""
        return self.kind != "crops" and self.sizes == "dynamic"


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
    calibrated_as: Precision | None = None
    """The precision whose calibration this graph uses, for example fp32 for an fp16 graph."""
    agreement: float | None = Field(default=None, ge=0)
    """How much the probabilities of the two precisions differ: see
    `service.inference.fp16.agreement`."""

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.onnx", value):
            raise ValueError(f"an ONNX file is a plain name ending in .onnx, but got {value!r}")
        return value


class Gate(Part):
    """The first pass of `adaptive` is trusted if the value of `kind` is at least `threshold`."""

    kind: GateKind
    threshold: float
    expected_cost: Positive
    """Mean cost in single crops, as expected on the calibration split."""
    conformal: dict[str, Share] = Field(default_factory=dict)
    """Like `ModeCalibration.conformal`, for the answers with this gate. Only the gates of
    `gate_curve` have it."""


class ModeCalibration(Part):
    """What was fitted for one precision and mode on the calibration split."""

    precision: Precision
    mode: Mode
    temperature: Temperature = 1.0
    """The log of the aggregated probabilities is divided by it. For `adaptive` it applies to the
    answers of the first pass alone.
    """
    temperature_power: Share = 0.0
    """`single_label` only: the temperature of an answer is `temperature` times its entropy, as a
    share of the largest possible, to this power. So unsure answers get a larger temperature. With
    0, all answers get the same."""
    second_share: float = Field(
        default_factory=lambda fields: EQUAL_SHARE if fields.get("mode") == "centre_dense" else 1.0,
        gt=0,
        le=1,
    )
    """The weight of the second pass in the answer of both passes: for `adaptive`, and for
    `centre_dense`, whose second pass is the dense one."""
    second_temperature: Temperature = 1.0
    """`adaptive` only: the temperature of the mixture of both passes. Before that, the answer of
    each pass is calibrated with its own temperature."""
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
    unknown_curve: Annotated[tuple[CurvePoint, ...], AfterValidator(check_curve)] | None = None
    """Known rates in rising order. Each has a threshold: images with an unknown score up to it are
    accepted."""
    reference: Reference | None = None
    """The distributions with which drift compares the answers of this mode."""


class Adaptive(Part):
    """Which passes `adaptive` runs."""

    first_px: SidePx
    """Shorter side of the image of the first pass."""
    first_crop_px: SidePx | None = None
    """The side of the centre crop that is cut out of it. None: the whole image runs."""
    first_inset: bool = False
    """The window over the whole image is half a stride smaller on every side. So the border of the
    class map, which has padding in its input, has half the weight."""
    second: SecondMode = "dense"
    """The mode that runs if the first pass is not sure; `none` is the served crop."""

    @model_validator(mode="after")
    def _first_fits(self) -> "Adaptive":
        if self.first_crop_px is not None and self.first_crop_px > self.first_px:
            raise ValueError(
                f"first_crop_px must be at most first_px, but got {self.first_crop_px} > "
                f"{self.first_px}"
            )
        return self


class Manifest(Part):
    """A model package, described."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: str
    version: str = Field(pattern=VERSION_PATTERN)
    architecture: dict[str, Any]
    task: TaskName = "single_label"
    """`single_label`: one class is true of an image; `multi_label`: any number of them, or none."""
    labels: tuple[Label, ...] = Field(min_length=1)
    input: InputSize
    graph: Graph = Graph()
    normalization: Normalization
    files: tuple[OnnxFile, ...] = Field(min_length=1)
    provenance: dict[str, Any] = Field(default_factory=dict)
    metrics: tuple[Metrics, ...] = ()
    multi_label_metrics: tuple[MultiLabelMetrics, ...] = ()
    calibration: tuple[ModeCalibration, ...] = ()
    adaptive: Adaptive | None = None
    unknown: UnknownModel | None = None
    """None: answers have no unknown score."""
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
        manifest_graph_checks.check(self)
        manifest_checks.check(self)
        return self

    def calibration_for(self, precision: Precision, mode: Mode) -> ModeCalibration:
        """The values that were fitted for `precision` and `mode`.

        If nothing was fitted, the values change nothing.
        """
        return self.fitted_for(precision, mode) or ModeCalibration(precision=precision, mode=mode)

    def fitted_for(self, precision: Precision, mode: Mode) -> ModeCalibration | None:
        """The calibration of `mode` at `precision`, or at the precision it is calibrated as.

        fp16 uses the calibration of fp32 if its file does not name another precision: an fp16 graph
        is derived from fp32, and must agree with it.
        """
        others = [f.calibrated_as for f in self.files if f.precision == precision]
        if precision == "fp16" and not any(others):
            others.append("fp32")
        for wanted in (precision, *others):
            for entry in self.calibration:
                if (entry.precision, entry.mode) == (wanted, mode):
                    return entry
        return None
