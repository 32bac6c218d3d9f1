"""Which passes an image of a given size takes, and which windows are read out of each.

The one place that knows what a TTA mode means. HTTP, scoring, evaluation and benchmarks all run
the plans made here.
"""

import math
from dataclasses import dataclass
from functools import partial

from service.errors import UsageError
from service.inference.image.geometry import (
    Box,
    FractionBox,
    LeastSize,
    Size,
    as_fractions,
    centre_box,
    five_boxes,
    inset,
    shorter_side,
    shorter_side_on_stride,
    whole,
)
from service.package.manifest import STRIDE_PX, Adaptive, InputSize, Mode

MAX_CUSTOM_BOXES = 64


@dataclass(frozen=True)
class Pass:
    """One trip through the network.

    The image is resized to `resized`, `box` of it is cut (and mirrored where `flip`). `windows`, in
    pixels of the cut, are read out of the class map; none of them means: pool everything.
    A `custom` pass cuts `source`, a fraction of the original, and resizes that.
    """

    resized: Size
    box: Box
    flip: bool = False
    windows: tuple[Box, ...] = ()
    source: FractionBox | None = None

    @property
    def size(self) -> Size:
        """What the network sees."""
        return Size(self.box.height, self.box.width)

    def shown(self) -> tuple[FractionBox, ...]:
        """Where each answer of this pass lies on the original image."""
        if self.source:
            return (self.source,)
        box = self.box
        if not self.windows:
            return (as_fractions(box, self.resized, flip=self.flip),)
        return tuple(
            as_fractions(Box(box.top + w.top, box.left + w.left, w.height, w.width), self.resized)
            for w in self.windows
        )


@dataclass(frozen=True)
class Plan:
    """The passes of one image: `first`, and `second` where a gate asks for more."""

    mode: Mode
    first: tuple[Pass, ...]
    second: tuple[Pass, ...] = ()
    second_mode: Mode = "dense"

    @property
    def rest(self) -> tuple[Pass, ...]:
        """What of `second` is left to run after `first`: no crop is run twice."""
        return tuple(item for item in self.second if item not in self.first)


@dataclass(frozen=True)
class Planner:
    """Plans for a model of one input size."""

    input: InputSize
    adaptive: Adaptive | None = None
    """None: a package that was not calibrated; its first pass is the centre crop."""

    @property
    def second_mode(self) -> Mode:
        """`adaptive`: the mode of the second pass."""
        return self.adaptive.second if self.adaptive else "dense"

    def check(self, mode: Mode, boxes: tuple[FractionBox, ...] = ()) -> None:
        """Refuse a mode and boxes that do not go together, whatever the size of the image.

        Raises:
            UsageError: `custom` without boxes or with too many, or boxes for another mode.
        """
        if boxes and mode != "custom":
            raise UsageError(f"boxes are for tta=custom, but tta is {mode}")
        if mode == "custom" and not boxes:
            raise UsageError("tta=custom needs boxes: fractions left,top,right,bottom[,flip]")
        if len(boxes) > MAX_CUSTOM_BOXES:
            raise UsageError(f"{len(boxes)} boxes; the limit is {MAX_CUSTOM_BOXES}")

    def plan(self, mode: Mode, size: Size, boxes: tuple[FractionBox, ...] = ()) -> Plan:
        """The passes of `mode` for an image of `size`.

        Raises:
            UsageError: see `check`.
        """
        self.check(mode, boxes)
        if mode == "adaptive":
            second = self.second_mode
            return Plan(mode, (self._cheap(size),), self.passes(second, size), second)
        return Plan(mode, self.passes(mode, size, boxes))

    def passes(
        self, mode: Mode, size: Size, boxes: tuple[FractionBox, ...] = ()
    ) -> tuple[Pass, ...]:
        """The passes of every mode that needs no gate."""
        crop_px, resized = self.input.crop_px, shorter_side(size, self.input.resize_px)
        if mode == "none":
            return (Pass(resized, centre_box(resized, crop_px)),)
        if mode == "five_crop":
            return tuple(Pass(resized, box) for box in five_boxes(resized, crop_px))
        if mode == "ten_crop":
            crops = five_boxes(resized, crop_px)
            # torchvision flips the image first, so its second top left is our mirrored top right.
            mirrored = [box.mirrored(resized.width) for box in crops]
            return (
                *(Pass(resized, box) for box in crops),
                *(Pass(resized, box, flip=True) for box in mirrored),
            )
        if mode == "dense":
            return self._dense(size)
        return self._custom(boxes)

    def decoding(self, boxes: tuple[FractionBox, ...] = ()) -> LeastSize | None:
        """How small a file may be decoded; None: in full, as packages with `decode: exact` say."""
        if self.input.decode == "exact":
            return None
        return partial(self.least_size, boxes=boxes)

    def least_size(self, size: Size, boxes: tuple[FractionBox, ...] = ()) -> Size:
        """The smallest size that an image of `size` may be decoded in.

        It is the same for every mode, so that all modes, in training and in serving, see the same
        pixels of a file. Only custom boxes ask for more: a crop of a small part needs its pixels.
        """
        side_px = max(self.input.resize_px, self.adaptive.first_px if self.adaptive else 0)
        wanted = [shorter_side(size, side_px), shorter_side_on_stride(size, side_px)]
        wanted += [
            Size(
                math.ceil(self.input.crop_px / (box.bottom - box.top)),
                math.ceil(self.input.crop_px / (box.right - box.left)),
            )
            for box in boxes
            if box.top < box.bottom and box.left < box.right  # others are refused later
        ]
        factor = self.input.decode_factor
        return Size(
            factor * max(one.height for one in wanted), factor * max(one.width for one in wanted)
        )

    def cost(self, passes: tuple[Pass, ...]) -> float:
        """Pixels that the network sees, in single crops."""
        return sum(p.size.pixels for p in passes) / self.input.crop_px**2

    def _dense(self, size: Size) -> tuple[Pass, ...]:
        """One pass over the whole image; five exact crops where that would cost less.

        A panorama's five windows leave most of it unread: past an aspect of about 3:1 the one pass
        sees more pixels than five crops do.
        """
        resized = shorter_side_on_stride(size, self.input.resize_px)
        crop_px = self.input.crop_px
        if resized.pixels > 5 * crop_px**2:
            return self.passes("five_crop", size)
        return (Pass(resized, whole(resized), windows=five_boxes(resized, crop_px)),)

    def _cheap(self, size: Size) -> Pass:
        """The first pass of `adaptive`: a centre crop, or the whole image made small."""
        first = self.adaptive
        if first is None:
            return self.passes("none", size)[0]
        if first.first_crop_px:
            resized = shorter_side(size, first.first_px)
            return Pass(resized, centre_box(resized, first.first_crop_px))
        resized = shorter_side_on_stride(size, first.first_px)
        if resized.pixels > self.input.crop_px**2:
            return self.passes("none", size)[0]
        windows = (inset(resized, STRIDE_PX // 2),) if first.first_inset else ()
        return Pass(resized, whole(resized), windows=windows)

    def _custom(self, boxes: tuple[FractionBox, ...]) -> tuple[Pass, ...]:
        side = Size(self.input.crop_px, self.input.crop_px)
        return tuple(Pass(side, whole(side), box.flip, source=box) for box in boxes)
