"""Exact crops of one image that share their first layers.

Away from its edges, a crop looks to the first layers as the image around it does: the layers
compute the same numbers for every crop that holds the same pixels. A crop differs only near its
edges, where it is padded and the image goes on. So the first layers, the stem, run once over the
image, and the features of every crop are cut out of the result. The cells near the edges of a crop
are then replaced: narrow strips along these edges run on their own, and a strip is padded as the
crop is.

The result equals that of the stem on every crop, to rounding: `tests/parity/test_stem.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Box
from service.inference.image.views import Pixels, cut

Features = NDArray[Any]
"""The features of a view after the stem: [C, h, w], in the type of the graph at this point."""


@dataclass(frozen=True)
class ReceptiveField:
    """How the output of some layers depends on pixels: the stride, and the cells at an edge.

    A cell is one position of the output and stands for `stride_px` x `stride_px` pixels.
    """

    stride_px: int = 1
    margin_before: int = 0
    """Cells at the left and at the top that depend on the padding there."""
    margin_after: int = 0
    """Cells at the right and at the bottom that depend on the padding there."""

    @property
    def strip_px(self) -> int:
        """A strip of this width has cells that depend on only one of its edges."""
        return (self.margin_before + self.margin_after) * self.stride_px

    def through(
        self, kernel: int, stride: int, pad_before: int, pad_after: int
    ) -> "ReceptiveField | None":
        """After one more convolution or pooling; None if cells no longer tile the pixels."""
        if (pad_before + pad_after - kernel) // stride != -1:
            return None
        before = -(-(self.margin_before + pad_before) // stride)
        after = -(-(self.margin_after + kernel - stride - pad_before) // stride)
        return ReceptiveField(self.stride_px * stride, max(before, 0), max(after, 0))


@dataclass(frozen=True)
class _Strip:
    """Pixels along one edge of a crop."""

    crop: int
    """The index of the crop."""
    box: Box
    axis: int
    """The axis of [C, h, w] that crosses the edge."""
    first: bool
    """Whether it is the upper or the left edge; else the lower or the right one."""


@dataclass(frozen=True)
class _Region:
    """Crops on one grid of cells, and the smallest part of the image that holds them."""

    box: Box
    boxes: dict[int, Box]

    @classmethod
    def around(cls, boxes: dict[int, Box]) -> "_Region":
        top = min(box.top for box in boxes.values())
        left = min(box.left for box in boxes.values())
        bottom = max(box.bottom for box in boxes.values())
        right = max(box.right for box in boxes.values())
        return cls(Box(top, left, bottom - top, right - left), boxes)

    def strips(self, receptive_field: ReceptiveField) -> list[_Strip]:
        """A strip for every edge of a crop that affects cells and lies inside the region."""
        found: list[_Strip] = []
        for which, box in self.boxes.items():
            top = Box(box.top, box.left, receptive_field.strip_px, box.width)
            left = Box(box.top, box.left, box.height, receptive_field.strip_px)
            if receptive_field.margin_before and box.top > self.box.top:
                found.append(_Strip(which, top, 1, first=True))
            if receptive_field.margin_before and box.left > self.box.left:
                found.append(_Strip(which, left, 2, first=True))
            if receptive_field.margin_after and box.bottom < self.box.bottom:
                low = top._replace(top=box.bottom - receptive_field.strip_px)
                found.append(_Strip(which, low, 1, first=False))
            if receptive_field.margin_after and box.right < self.box.right:
                far = left._replace(left=box.right - receptive_field.strip_px)
                found.append(_Strip(which, far, 2, first=False))
        return found


@dataclass(frozen=True)
class _Sharing:
    """How some crops share: the regions, each with its strips grouped by shape."""

    regions: tuple[tuple[_Region, tuple[tuple[_Strip, ...], ...]], ...]
    pixels: int
    """The number of pixels that the stem processes."""


def shared_pixels(boxes: Sequence[Box], receptive_field: ReceptiveField) -> int:
    """The number of pixels of a stem that runs once for all of `boxes`, including strips."""
    return _sharing(tuple(boxes), receptive_field).pixels


@lru_cache(maxsize=256)
def _sharing(boxes: tuple[Box, ...], receptive_field: ReceptiveField) -> _Sharing:
    """Crops whose cells lie on the same grid share a region; every grid has its own region.

    In an image of any width, the left crops are on one grid and the right ones on another.
    """
    grids: dict[tuple[int, int], dict[int, Box]] = {}
    for which, box in enumerate(boxes):
        grid = box.top % receptive_field.stride_px, box.left % receptive_field.stride_px
        grids.setdefault(grid, {})[which] = box
    pixels = 0
    regions: list[tuple[_Region, tuple[tuple[_Strip, ...], ...]]] = []
    for region in map(_Region.around, grids.values()):
        by_shape: dict[tuple[int, int], list[_Strip]] = {}
        for strip in region.strips(receptive_field):
            by_shape.setdefault((strip.box.height, strip.box.width), []).append(strip)
            pixels += strip.box.pixels
        pixels += region.box.pixels
        regions.append((region, tuple(map(tuple, by_shape.values()))))
    return _Sharing(tuple(regions), pixels)


@dataclass(frozen=True)
class Stem:
    """The first layers of a network, uint8[N, H, W, 3] -> [N, C, h, w]."""

    run: Callable[[Pixels], Features]
    receptive_field: ReceptiveField

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        """The features of every box of uint8[H, W, 3], equal to those of each crop run on its own.

        None where sharing is not possible, or would save nothing.
        """
        field = self.receptive_field
        sides = {side for box in boxes for side in (box.height, box.width)}
        if any(side % field.stride_px or side < field.strip_px for side in sides):
            return None
        sharing = _sharing(tuple(boxes), field)
        if sharing.pixels >= sum(box.pixels for box in boxes):
            return None
        features: dict[int, Features] = {}
        for region, strips in sharing.regions:
            features |= self._cut(image, region)
            for alike in strips:
                edges = self.run(np.stack([cut(image, strip.box) for strip in alike]))
                for strip, edge in zip(alike, edges, strict=True):
                    self._replace_edge(features[strip.crop], edge, strip)
        return [features[which] for which in range(len(boxes))]

    def _cut(self, image: Pixels, region: _Region) -> dict[int, Features]:
        """The features of a region's crops; those near the edges of a crop are not right yet."""
        (whole,) = self.run(cut(image, region.box)[None])
        cell = self.receptive_field.stride_px
        features: dict[int, Features] = {}
        for which, box in region.boxes.items():
            top, left = (box.top - region.box.top) // cell, (box.left - region.box.left) // cell
            high, wide = box.height // cell, box.width // cell
            features[which] = whole[:, top : top + high, left : left + wide].copy()
        return features

    def _replace_edge(self, features: Features, edge: Features, strip: _Strip) -> None:
        """Overwrite the cells that depend on this edge of the crop."""
        field = self.receptive_field
        felt = slice(field.margin_before) if strip.first else slice(-field.margin_after, None)
        where = (slice(None), felt) if strip.axis == 1 else (..., felt)
        features[where] = edge[where]
