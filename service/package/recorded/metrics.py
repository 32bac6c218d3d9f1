"""The metrics in a manifest: what `quincunx evaluate --record` measured.

A value is None if a later change of the package made it stale: see `recorded.what_holds`.
"""

from typing import Annotated

from pydantic import Field

from service.package.parts import Count, Mode, Part, Precision, Share

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Measured(Part):
    """One precision and mode on one set of images."""

    precision: Precision
    mode: Mode
    images: Count
    images_digest: Digest | None = None
    """Of the images and their true classes. None: recorded before version 0.6."""
    answers_digest: Digest | None = None
    """Of everything in the package that these answers depend on: see `recorded.dependence`. None:
    recorded before version 0.6."""


class PairedMetrics(Part):
    """A comparison with a reference on the same images: see `training.evaluation.paired`."""

    corrected: Count
    """Images that the reference answers wrong, and this precision and mode right."""
    spoiled: Count
    difference: float = Field(ge=-1, le=1)
    """In top-1."""
    interval: tuple[float, float]
    p_value: Share
    nll_difference: float | None
    nll_interval: tuple[float, float] | None


class Metrics(Measured):
    """What `quincunx evaluate` measured for one precision and mode on the validation set."""

    top1: Share
    top1_interval: tuple[Share, Share]
    top5: Share | None = None
    nll: float | None = Field(ge=0)
    ece: Share | None
    against_single: PairedMetrics | None = None
    """Against the single crop of the same precision."""
    against_fp32: PairedMetrics | None = None
    """Against the same mode at fp32."""


class PairedLabelMetrics(Part):
    """A comparison of two methods of a multi-label model, on the same images."""

    difference: float = Field(ge=-1, le=1)
    """In mean average precision."""
    interval: tuple[float, float]
    nll_difference: float | None


class MultiLabelMetrics(Measured):
    """The same of a multi-label model: `map` is the mean over classes of the average precision."""

    map: Share
    map_interval: tuple[Share, Share]
    micro_f1: Share | None
    """Of all answers together, at the fitted thresholds."""
    macro_f1: Share | None
    """The mean over classes."""
    nll: float | None = Field(ge=0)
    """Binary, the mean over images and classes, in nats."""
    average_precision: dict[str, Share] = Field(default_factory=dict)
    """Of each class by its id; a class that no image has is left out."""
    against_single: PairedLabelMetrics | None = None
    against_fp32: PairedLabelMetrics | None = None
    """As those of `Metrics`."""


Row = Metrics | MultiLabelMetrics


def reference_of(row: Row, pair: str) -> tuple[Precision, Mode]:
    """The precision and mode that `pair`, `against_single` or `against_fp32`, compares with."""
    return (row.precision, "none") if pair == "against_single" else ("fp32", row.mode)


PAIRS = ("against_single", "against_fp32")
UNCERTAIN = ("nll", "ece", "micro_f1", "macro_f1", "nll_difference", "nll_interval")
"""Values that depend on temperatures or thresholds; all others depend on the order of classes."""
