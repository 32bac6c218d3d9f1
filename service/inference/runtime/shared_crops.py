"""Exact crops of one image that share their first layers.

Away from its edges, a crop looks to the first layers as the image around it does: they compute the
same numbers for every crop that holds the same pixels. Only near an edge does a crop differ, since
it is padded where the image goes on. So the first layers, the stem, run once over the image, every
crop's features are cut out of what they found, and the cells near its edges are put right from
narrow strips along them, cut as the crop cuts them and so padded as the crop is.

The result is that of running the stem on every crop, to rounding: `tests/parity/test_stem.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Box
from service.inference.image.views import Pixels, cut

Features = NDArray[Any]
"""What a stem makes of a view: [C, h, w], in the type that the graph has there."""


@dataclass(frozen=True)
class Reach:
    """What some layers make of pixels: cells of `stride_px`, and how far an edge is felt."""

    stride_px: int = 1
    lead: int = 0
    """Cells at the left and at the top that depend on the padding there."""
    trail: int = 0
    """Cells at the right and at the bottom that do."""

    @property
    def strip_px(self) -> int:
        """A strip so wide has cells that know one of its edges and not the other."""
        return (self.lead + self.trail) * self.stride_px

    def through(self, kernel: int, stride: int, pad_before: int, pad_after: int) -> "Reach | None":
        """After a convolution or a pooling more; None where cells no longer tile the pixels."""
        if (pad_before + pad_after - kernel) // stride != -1:
            return None
        lead = -(-(self.lead + pad_before) // stride)
        trail = -(-(self.trail + kernel - stride - pad_before) // stride)
        return Reach(self.stride_px * stride, max(lead, 0), max(trail, 0))


@dataclass(frozen=True)
class _Strip:
    """Pixels along one edge of a crop."""

    which: int
    """Of the crops."""
    box: Box
    axis: int
    """Of [C, h, w]: across the edge."""
    first: bool
    """The upper or the left edge, not the lower or the right one."""


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

    def strips(self, reach: Reach) -> list[_Strip]:
        """A strip for every edge of a crop that is felt, and where the region goes on."""
        found: list[_Strip] = []
        for which, box in self.boxes.items():
            top = Box(box.top, box.left, reach.strip_px, box.width)
            left = Box(box.top, box.left, box.height, reach.strip_px)
            if reach.lead and box.top > self.box.top:
                found.append(_Strip(which, top, 1, first=True))
            if reach.lead and box.left > self.box.left:
                found.append(_Strip(which, left, 2, first=True))
            if reach.trail and box.bottom < self.box.bottom:
                low = replace(top, top=box.bottom - reach.strip_px)
                found.append(_Strip(which, low, 1, first=False))
            if reach.trail and box.right < self.box.right:
                far = replace(left, left=box.right - reach.strip_px)
                found.append(_Strip(which, far, 2, first=False))
        return found


@dataclass(frozen=True)
class _Sharing:
    """How some crops share: regions, and the strips of each, those of one shape together."""

    regions: tuple[tuple[_Region, tuple[tuple[_Strip, ...], ...]], ...]
    pixels: int
    """That the stem sees."""


def shared_pixels(boxes: Sequence[Box], reach: Reach) -> int:
    """Pixels that a stem sees which runs once for all of `boxes`, strips included."""
    return _sharing(tuple(boxes), reach).pixels


@lru_cache(maxsize=256)
def _sharing(boxes: tuple[Box, ...], reach: Reach) -> _Sharing:
    """Crops whose cells lie on one grid share; those of other grids have regions of their own.

    In an image of any width, the left crops are on one grid and the right ones on another.
    """
    grids: dict[tuple[int, int], dict[int, Box]] = {}
    for which, box in enumerate(boxes):
        grid = box.top % reach.stride_px, box.left % reach.stride_px
        grids.setdefault(grid, {})[which] = box
    pixels = 0
    regions: list[tuple[_Region, tuple[tuple[_Strip, ...], ...]]] = []
    for region in map(_Region.around, grids.values()):
        by_shape: dict[tuple[int, int], list[_Strip]] = {}
        for strip in region.strips(reach):
            by_shape.setdefault((strip.box.height, strip.box.width), []).append(strip)
            pixels += strip.box.pixels
        pixels += region.box.pixels
        regions.append((region, tuple(map(tuple, by_shape.values()))))
    return _Sharing(tuple(regions), pixels)


@dataclass(frozen=True)
class Stem:
    """The first layers of a network: uint8[N, H, W, 3] -> [N, C, h, w], of such a reach."""

    run: Callable[[Pixels], Features]
    reach: Reach

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        """The features of every box of uint8[H, W, 3], as if each crop had been run alone.

        None where sharing is not possible, or would save nothing.
        """
        sides = {side for box in boxes for side in (box.height, box.width)}
        if any(side % self.reach.stride_px or side < self.reach.strip_px for side in sides):
            return None
        sharing = _sharing(tuple(boxes), self.reach)
        if sharing.pixels >= sum(box.pixels for box in boxes):
            return None
        features: dict[int, Features] = {}
        for region, strips in sharing.regions:
            features |= self._cut(image, region)
            for alike in strips:
                edges = self.run(np.stack([cut(image, strip.box) for strip in alike]))
                for strip, edge in zip(alike, edges, strict=True):
                    self._put_right(features[strip.which], edge, strip)
        return [features[which] for which in range(len(boxes))]

    def _cut(self, image: Pixels, region: _Region) -> dict[int, Features]:
        """The features of a region's crops, as they are inside."""
        (whole,) = self.run(cut(image, region.box)[None])
        cell = self.reach.stride_px
        features: dict[int, Features] = {}
        for which, box in region.boxes.items():
            top, left = (box.top - region.box.top) // cell, (box.left - region.box.left) // cell
            high, wide = box.height // cell, box.width // cell
            features[which] = whole[:, top : top + high, left : left + wide].copy()
        return features

    def _put_right(self, features: Features, edge: Features, strip: _Strip) -> None:
        """Overwrite the cells that feel this edge: the others of the strip feel its other edge."""
        felt = slice(self.reach.lead) if strip.first else slice(-self.reach.trail, None)
        where = (slice(None), felt) if strip.axis == 1 else (..., felt)
        features[where] = edge[where]
