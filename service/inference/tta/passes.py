"""The views of some passes over one image, and the logits in their results.

This module does not depend on modes and aggregation, so calibration and evaluation can use it too.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFinite
from service.inference.image.geometry import Box, FractionBox, Size
from service.inference.image.views import AnyImage, Pixels, cut, resize, resized_crop
from service.inference.runtime.session import Output
from service.inference.runtime.shared_crops import Features
from service.inference.stage_clock import stage
from service.inference.tta.planner import Pass
from service.inference.tta.windows import as_input, window_logits
from service.package.manifest import Interpolation

T = TypeVar("T")
Values = NDArray[np.float32]


class WithEmbedding(NamedTuple):
    """The result of a view that asked for its embedding too."""

    values: Values
    embedding: Values
    """float32[C]."""


Result = Values | WithEmbedding
Results = Sequence[Result]
Key = tuple[tuple[int, ...], Output, tuple[Box, ...], bool]
Resized = dict[Size, Pixels]
"""An image in the sizes that some passes need."""


class InferenceBackend(Protocol):
    """Runs one batch of views, as a `Session` does."""

    def run(
        self,
        views: Pixels | Features,
        output: Output,
        windows: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]: ...

    def run_with_embedding(
        self,
        views: Pixels | Features,
        output: Output,
        windows: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...


class View(NamedTuple):
    """One image for the network. Views of equal `key` may share a batch."""

    pixels: Pixels | Features
    output: Output
    windows: tuple[Box, ...] = ()
    """Boxes in pixels of the view, whose logits the output `window_logits` holds."""
    embedding: bool = False
    """Whether the same run also gives the embedding: the result is then `WithEmbedding`."""

    @property
    def key(self) -> Key:
        return self.pixels.shape, self.output, self.windows, self.embedding


StepsOf = Generator[list[View], Results, T]
"""Yields views, is sent one result for each, and returns a T."""


class CropFeatureProvider(Protocol):
    """Runs the first layers once for all crops of an image, as a `Session` does."""

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None: ...


@dataclass(frozen=True)
class PassOutputs:
    """The logits of every view and window of some passes: float32[V, K]."""

    logits: NDArray[np.float32]
    shown: tuple[FractionBox, ...]
    class_map: NDArray[np.float32] | None
    embeddings: tuple[Values, ...] = ()
    """float32[C] of each pass, if they were requested."""


def run_batch(views: Sequence[View], session: InferenceBackend) -> Sequence[Result]:
    """Run views of one `key` together; a result for each."""
    pixels, first = np.stack([view.pixels for view in views]), views[0]
    windows = None
    if first.output == "window_logits":
        windows = as_input(first.windows, Size(*pixels.shape[1:3]))
    if not first.embedding:
        return list(session.run(pixels, first.output, windows))
    values, embeddings = session.run_with_embedding(pixels, first.output, windows)
    return [WithEmbedding(*both) for both in zip(values, embeddings, strict=True)]


def values_of(result: Result) -> Values:
    """The logits or the class map of a result."""
    return result.values if isinstance(result, WithEmbedding) else result


def read_passes(
    image: AnyImage | Resized,
    passes: tuple[Pass, ...],
    crop_features: CropFeatureProvider | None = None,
    *,
    embedding: bool = False,
) -> StepsOf[PassOutputs]:
    """Make the views of `passes`, yield them, and read every window of the results.

    With `embedding`, every run also gives the embedding of its views. The graph must have it.

    Raises:
        NotFinite: the network has no answer for this image.
    """
    views = make_views(image, passes, crop_features)
    del image
    if embedding:
        views = [view._replace(embedding=True) for view in views]
    results = yield views
    logits: list[Values] = []
    class_map = None
    for item, result in zip(passes, map(values_of, results), strict=True):
        if item.output == "window_logits":
            logits.append(result)
        elif item.output == "class_map":
            class_map = result
            logits.append(window_logits(result, item.windows, item.size))
        else:
            logits.append(result[None])
    shown = tuple(box for item in passes for box in item.shown)
    embeddings = tuple(one.embedding for one in results if isinstance(one, WithEmbedding))
    every = np.concatenate(logits)
    check_finite("logits", every)
    check_finite("embedding", *embeddings)
    return PassOutputs(every, shown, class_map, embeddings)


def check_finite(what: str, *found: NDArray[np.floating]) -> None:
    """Some networks divide by the contrast of the image: one of a single colour gives NaN.

    Raises:
        NotFinite: there is a number that is not finite.
    """
    if not all(np.isfinite(one).all() for one in found):
        raise NotFinite(f"the network's {what} for this image: not all are finite (NaN, infinity)")


def resize_for(image: AnyImage, passes: tuple[Pass, ...]) -> Resized:
    """The image in each size that `passes` need."""
    wanted: dict[Size, Interpolation] = {
        item.resized: item.interpolation for item in passes if not item.source
    }
    with stage("resize"):
        return {size: resize(image, size, by) for size, by in wanted.items()}


def make_views(
    image: AnyImage | Resized,
    passes: tuple[Pass, ...],
    crop_features: CropFeatureProvider | None = None,
) -> list[View]:
    """The view of every pass, from an image or from its resized copies (`resize_for`)."""
    resized = image if isinstance(image, dict) else resize_for(image, passes)
    features = _shared(resized, passes, crop_features) if crop_features else {}
    if not features:  # the hash of a pass takes longer than its view
        return [_view(image, resized, item) for item in passes]
    return [features.get(item) or _view(image, resized, item) for item in passes]


def _view(image: AnyImage | Resized, resized: Resized, item: Pass) -> View:
    if item.source and not isinstance(image, dict):
        side_px = item.resized.height
        return View(resized_crop(image, item.source, side_px, item.interpolation), "logits")
    pixels = cut(resized[item.resized], item.box, flip=item.flip)
    return View(pixels, item.output, item.windows if item.output == "window_logits" else ())


def _shared(
    resized: Resized, passes: tuple[Pass, ...], crop_features: CropFeatureProvider
) -> dict[Pass, View]:
    """The views of crops that share their first layers."""
    groups: dict[tuple[Size, bool], list[Pass]] = {}
    for item in passes:
        if not item.source and not item.windows:
            groups.setdefault((item.resized, item.flip), []).append(item)
    views: dict[Pass, View] = {}
    for (size, flip), crops in groups.items():
        if len(crops) > 1:
            image = resized[size][:, ::-1] if flip else resized[size]
            boxes = [item.box.mirrored(size.width) if flip else item.box for item in crops]
            with stage("inference"):
                of_crops = crop_features.crops(image, boxes) or ()
            for item, features in zip(crops, of_crops, strict=False):
                views[item] = View(features, "logits_of_features")
    return views
