"""The positions of views: sizes and boxes in whole pixels.

The geometry of resize, centre crop and five-crop is exactly that of torchvision. `tests/parity`
checks this, also with odd sizes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from service.errors import ImageTooSmall
from service.package.manifest import Fit


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width


LeastSize = Callable[[Size], Size]
"""From the size of an upright image to the smallest size that it may be decoded in."""


class Box(NamedTuple):
    """A rectangle inside an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def mirrored(self, image_width: int) -> "Box":
        """The box that covers the same pixels after a horizontal flip."""
        return Box(self.top, image_width - self.right, self.height, self.width)


@dataclass(frozen=True)
class FractionBox:
    """A rectangle as fractions of an image: 0 <= left < right <= 1, and so for top and bottom."""

    left: float
    top: float
    right: float
    bottom: float
    flip: bool = False


def whole(size: Size) -> Box:
    """The box of the whole image."""
    return Box(0, 0, size.height, size.width)


def inset(size: Size, margin_px: int) -> Box:
    """The box that leaves `margin_px` of the image out on every side."""
    return Box(margin_px, margin_px, size.height - 2 * margin_px, size.width - 2 * margin_px)


def shorter_side(size: Size, side_px: int) -> Size:
    """The size after the shorter side became `side_px`, as torchvision's Resize computes it."""
    if size.height <= size.width:
        return Size(side_px, int(side_px * size.width / size.height))
    return Size(int(side_px * size.height / size.width), side_px)


def fitted(size: Size, side_px: int, fit: Fit) -> Size:
    """The size that a photo of `size` is resized to before views are cut.

    `shorter_side`: the shorter side is `side_px`. `squash`: both sides are `side_px`.
    """
    return shorter_side(size, side_px) if fit == "shorter_side" else Size(side_px, side_px)


def on_stride(exact: Size, stride_px: int, least_px: int = 0) -> Size:
    """The size with both sides rounded to the stride, so that no feature is half padding.

    No side is below `least_px`, which is rounded up to the stride.
    """
    least = math.ceil(least_px / stride_px)

    def rounded(length_px: int) -> int:
        return max(round(length_px / stride_px), least, 1) * stride_px

    return Size(rounded(exact.height), rounded(exact.width))


def centre_box(size: Size, side_px: int) -> Box:
    """The centre crop; its offset is round((H - S) / 2), halves to even, as torchvision has it.

    Raises:
        ImageTooSmall: min(H, W) < side_px.
    """
    if min(size.height, size.width) < side_px:
        raise ImageTooSmall(
            f"a crop of {side_px}×{side_px} px does not fit into {size.width}×{size.height} px"
        )
    top = round((size.height - side_px) / 2)
    left = round((size.width - side_px) / 2)
    return Box(top, left, side_px, side_px)


def five_boxes(size: Size, side_px: int) -> tuple[Box, ...]:
    """The four corners and the centre, in torchvision's order: TL, TR, BL, BR, centre.

    Raises:
        ImageTooSmall: min(H, W) < side_px.
    """
    centre = centre_box(size, side_px)
    bottom, right = size.height - side_px, size.width - side_px
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right))
    return (*(Box(top, left, side_px, side_px) for top, left in corners), centre)


def as_fractions(box: Box, size: Size, *, flip: bool = False) -> FractionBox:
    """A box of an image of `size` as fractions of it, to draw it on the original."""
    return FractionBox(
        left=box.left / size.width,
        top=box.top / size.height,
        right=box.right / size.width,
        bottom=box.bottom / size.height,
        flip=flip,
    )
