"""The shapes of answers, for the documentation and for tests that check answers against them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.feedback.row import Outcome, Source
from service.package.manifest import (
    Aggregation,
    Fit,
    Metrics,
    Mode,
    MultiLabelMetrics,
    Precision,
    TaskName,
)

Probability = Annotated[float, Field(ge=0, le=1.000001)]
Milliseconds = Annotated[float, Field(ge=0)]


class Shape(BaseModel):
    """A JSON object without further keys."""

    model_config = ConfigDict(extra="forbid", title=None)


class ClassProbability(Shape):
    """One of the likeliest classes."""

    label: str = Field(description="The stable id of the class, a folder name in training")
    name: str = Field(description="Its display name")
    index: int = Field(description="Its index in the logits")
    probability: Probability


class Timing(Shape):
    """The time of each stage in milliseconds; the last three with `include=timing`."""

    decode: Milliseconds
    queue: Milliseconds = Field(description="Waiting for the session")
    inference: Milliseconds
    total: Milliseconds
    prepare: Milliseconds | None = Field(
        default=None, description="Resizing, cutting, and the first layers that exact crops share"
    )
    finish: Milliseconds | None = Field(default=None, description="Aggregation, second views")
    batch_views: list[int] | None = Field(
        default=None, description="Sizes, in views, of the batches that held a view of this image"
    )


class ImageSize(Shape):
    """The decoded image."""

    width_px: int
    height_px: int


class ViewResult(Shape):
    """The answer of one view alone; its probability is calibrated as that of the answer."""

    box: tuple[float, float, float, float] = Field(
        description="left, top, right, bottom as fractions of the image"
    )
    flip: bool
    label: str
    name: str
    index: int
    probability: Probability


class Heatmap(Shape):
    """The probability of the likeliest class over the whole image."""

    index: int
    peak: Probability | None = Field(
        default=None, description="The highest probability on the map, not calibrated"
    )
    png_base64: str | None = Field(default=None, description="An RGBA overlay")
    values: list[list[float]] | None = Field(default=None, description="Rows of probabilities")


class UnknownAnswer(Shape):
    """Whether none of the classes fits the image."""

    score: float = Field(description="Higher: less like the images that the model was trained on")
    threshold: float = Field(description="Scores above it are unknown")
    is_unknown: bool = Field(description="None of the classes fits: the label is only the closest")
    known_rate: Probability = Field(
        description="The share of images of the model's classes whose scores are up to the "
        "threshold"
    )


class Classification(Shape):
    """One image's answer."""

    model: str = Field(description="NAME@VERSION")
    precision: Precision = Field(description="The precision of the graph that answered")
    label: str = Field(description="The id of the likeliest class")
    name: str = Field(description="Its display name")
    probability: Probability = Field(description="Its probability")
    predictions: list[ClassProbability] = Field(description="The `top_k` likeliest classes")
    tta: Mode = Field(description="The same as `tta_applied`, kept for older programs")
    tta_requested: Mode = Field(description="The mode that was asked for, or the default one")
    tta_applied: Mode = Field(
        description="The mode that ran. Cheaper than requested if the server degrades under "
        "pressure"
    )
    aggregate: Aggregation = Field(description="How the views became one answer")
    calibrated: bool = Field(
        description="False: no temperature was fitted for this mode; the network's own confidence"
    )
    passes: int = Field(description="Views that were run")
    cost: float = Field(description="Pixels that the network read, in single crops")
    unknown: UnknownAnswer | None = Field(
        default=None,
        description="null: the package or the mode has no unknown score, or known_rate=off",
    )
    gate_open: bool | None = Field(default=None, description="adaptive: a second pass ran")
    prediction_set: list[str] | None = Field(
        default=None,
        description="With `coverage`: the ids of the smallest set of classes that contains the "
        "true one that often",
    )
    prediction_set_classes: list[ClassProbability] | None = Field(
        default=None,
        description="With `coverage`: the classes of `prediction_set`, in the same order, with "
        "names and probabilities",
    )
    labels: list[ClassProbability] | None = Field(
        default=None,
        description="Multi-label models: the classes at or above their thresholds, likeliest "
        "first; empty if there is none",
    )
    embedding: list[float] | None = Field(
        default=None, description="With include=embedding: the mean over views"
    )
    image: ImageSize | None = Field(default=None, description="With include=views")
    views: list[ViewResult] | None = Field(default=None, description="With include=views")
    heatmap: Heatmap | None = Field(default=None, description="With include=heatmap")
    timing_ms: Timing = Field(description="The time of each stage in milliseconds")


class ClassifyAnswer(Classification):
    """The answer of `/classify`."""

    request_id: str = Field(description="The id of the request, which the log has too")


class EmbedAnswer(Shape):
    """The answer of `/embed`."""

    model: str = Field(description="NAME@VERSION")
    precision: Precision = Field(description="The precision of the graph that answered")
    embedding: list[float] = Field(
        description="The features before the head, averaged over positions and over views"
    )
    tta_requested: Mode = Field(description="The mode that was asked for, or the default one")
    tta_applied: Mode = Field(description="The mode that ran")
    passes: int = Field(description="Views that were run")
    cost: float = Field(description="Pixels that the network read, in single crops")
    request_id: str = Field(description="The id of the request, which the log has too")


class ErrorDetail(Shape):
    """The error, for people and programs."""

    type: str = Field(pattern="^(client|server)_error$")
    code: str = Field(examples=["bad_image", "overloaded"])
    message: str
    request_id: str


class ErrorAnswer(Shape):
    """The body of every error."""

    error: ErrorDetail


class BatchAnswer(Shape):
    """The answer of `/classify_batch`: one result or error per image, in order."""

    model: str
    results: list[Classification | ErrorAnswer]
    request_id: str


class ModelSummary(Shape):
    """A served model."""

    model: str = Field(description="NAME@VERSION")
    name: str
    version: str
    default: bool
    task: TaskName = Field(description="multi_label: answers have `labels`, any number of them")
    precision: Precision
    provider: str
    classes: int
    crop_px: int
    resize_px: int
    fit: Fit = Field(
        default="shorter_side",  # that of servers without the field
        description="shorter_side: a photo keeps its shape, and its shorter side becomes "
        "`resize_px`. squash: both sides become `resize_px`",
    )
    default_tta: Mode
    modes: list[Mode] = Field(description="The modes that it can answer, at its precision")
    calibrated: bool = Field(description="Whether confidence was calibrated for `default_tta`")
    heatmap: bool = Field(description="Whether `include=heatmap` can be answered")
    embedding: int | None = Field(
        default=None, description="Numbers of an embedding; null: the model has none"
    )
    known_rate: float | None = Field(
        default=None, description="The default known_rate; null: the model has no unknown score"
    )


class ModelLabel(Shape):
    """One class."""

    index: int
    id: str
    name: str


class ModeOptions(Shape):
    """The options that a request for one mode may have: they need values that were fitted."""

    mode: Mode
    aggregates: list[Aggregation]
    coverages: list[float] = Field(description="The values that `coverage` may have")
    known_rates: tuple[float, float] | None = Field(
        default=None, description="The least and the greatest `known_rate`, if there is a score"
    )
    expected_cost: float | None = Field(
        default=None, description="adaptive: the mean cost on the calibration images, in crops"
    )


class ModelDetail(ModelSummary):
    """A served model with its labels, and its measurements at its precision."""

    mode_options: list[ModeOptions] = Field(
        default=[], description="The options of each mode (empty: from an older server)"
    )
    labels: list[ModelLabel]
    metrics: list[Metrics | MultiLabelMetrics]


class ModelList(Shape):
    """Every served model, and whether the server takes feedback."""

    models: list[ModelSummary]
    feedback: bool = Field(
        default=False,
        description="Whether `POST /feedback` stores feedback: QUINCUNX_FEEDBACK_FOLDER is set "
        "(missing: from an older server)",
    )


class Reloaded(Shape):
    """The models that are served after a reload."""

    models: list[str]


class FeedbackAnswer(Shape):
    """Feedback that was stored."""

    stored: bool
    outcome: Outcome = Field(
        description="Whether the answer was right. unknown: the server does not know the answer, "
        "or it does not serve the model that gave it and cannot tell whether the label is its class"
    )
    label: str | None = Field(description="The id of the right class; null: not known")
    predicted: str | None = Field(description="The id of the class in the answer")
    model: str | None = Field(description="The model that answered, NAME@VERSION")
    source: Source | None = Field(
        description="Who knew the answer: the server remembered it, or the client sent it"
    )
    request_id: str = Field(description="The id of this request, not that of the answer")
