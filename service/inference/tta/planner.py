"""Which passes an image of a given size needs, and which windows are computed from each.

TTA modes are defined only here. HTTP, scoring, evaluation and benchmarks all run these plans.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Literal

from service.errors import UsageError
from service.inference.image.geometry import (
    Box,
    FractionBox,
    LeastSize,
    Size,
    as_fractions,
    centre_box,
    fitted,
    five_boxes,
    inset,
    on_stride,
    whole,
)
from service.package.manifest import Adaptive, Graph, InputSize, Interpolation, Mode

MAX_CUSTOM_BOXES = 64
KEPT_PLANS = 512

VERSION_1 = Graph()
"""The only graph of packages of version 1."""
WindowOutput = Literal["class_map", "window_logits"]


@dataclass(frozen=True)
class Pass:
    """One run of the network on one view.

    The image is resized to `resized`, and `box` is cut out of it (and mirrored if `flip`).
    `windows` are in pixels of the cut. If there are none, the pass gives the logits of the whole
    view. The logits of windows are computed from the class map or by the graph, as `windows_from`
    says. A `custom` pass cuts `source`, a fraction of the original, and resizes that.
    """

    resized: Size
    box: Box
    flip: bool = False
    windows: tuple[Box, ...] = ()
    source: FractionBox | None = None
    interpolation: Interpolation = "bilinear"
    windows_from: WindowOutput = "class_map"

    @cached_property
    def output(self) -> WindowOutput | Literal["logits"]:
        """The output of the graph that the pass needs."""
        return self.windows_from if self.windows else "logits"

    @cached_property
    def size(self) -> Size:
        """The size of the view that the network sees."""
        return Size(self.box.height, self.box.width)

    @cached_property
    def shown(self) -> tuple[FractionBox, ...]:
        """The position of each answer of this pass on the original image."""
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
    """The passes of one image: `first`, and `second`, which runs if a gate opens."""

    mode: Mode
    first: tuple[Pass, ...]
    second: tuple[Pass, ...] = ()
    second_mode: Mode = "dense"

    @cached_property
    def rest(self) -> tuple[Pass, ...]:
        """The passes of `second` that remain after `first`: no crop is run twice."""
        return tuple(item for item in self.second if item not in self.first)


@dataclass(frozen=True)
class Planner:
    """Plans for a model of one input size."""

    input: InputSize
    adaptive: Adaptive | None = None
    """None if the package was not calibrated. The first pass is then the centre crop."""
    graph: Graph = VERSION_1

    @property
    def second_mode(self) -> Mode:
        """`adaptive`: the mode of the second pass."""
        if self.adaptive:
            return self.adaptive.second
        return "dense" if self.graph.takes_whole_images else "five_crop"

    def check(self, mode: Mode, boxes: tuple[FractionBox, ...] = ()) -> None:
        """Refuse a mode and boxes that do not go together.

        This does not depend on the size of the image.

        Raises:
            UsageError: `custom` without boxes or with too many, or boxes for another mode.
        """
        if boxes and mode != "custom":
            raise UsageError(f"boxes are for tta=custom, but tta is {mode}")
        if mode == "custom" and not boxes:
            raise UsageError(
                "tta=custom needs boxes (--box on the command line): fractions "
                "left,top,right,bottom[,flip]"
            )
        if len(boxes) > MAX_CUSTOM_BOXES:
            raise UsageError(f"{len(boxes)} boxes; the limit is {MAX_CUSTOM_BOXES}")

    def plan(self, mode: Mode, size: Size, boxes: tuple[FractionBox, ...] = ()) -> Plan:
        """The passes of `mode` for an image of `size`. The last plans are kept and shared.

        Raises:
            UsageError: see `check`.
        """
        return self._plans(mode, size, boxes)

    @cached_property
    def _plans(self) -> Callable[[Mode, Size, tuple[FractionBox, ...]], Plan]:
        return lru_cache(KEPT_PLANS)(self._plan)

    def _plan(self, mode: Mode, size: Size, boxes: tuple[FractionBox, ...]) -> Plan:
        self.check(mode, boxes)
        if mode == "adaptive":
            second = self.second_mode
            return Plan(mode, (self._cheap(size),), self.passes(second, size), second)
        return Plan(mode, self.passes(mode, size, boxes))

    def fitted(self, size: Size, side_px: int) -> Size:
        """The size that an image of `size` is resized to for views out of a side of `side_px`."""
        return fitted(size, side_px, self.input.fit)

    def passes(
        self, mode: Mode, size: Size, boxes: tuple[FractionBox, ...] = ()
    ) -> tuple[Pass, ...]:
        """The passes of every mode that needs no gate."""
        crop_px, resized = self.input.crop_px, self.fitted(size, self.input.resize_px)
        if mode == "none":
            return (self._crop(resized, centre_box(resized, crop_px)),)
        if mode == "five_crop":
            return tuple(self._crop(resized, box) for box in five_boxes(resized, crop_px))
        if mode == "ten_crop":
            crops = five_boxes(resized, crop_px)
            # torchvision flips the image first, so its second top left is our mirrored top right.
            mirrored = [box.mirrored(resized.width) for box in crops]
            return (
                *(self._crop(resized, box) for box in crops),
                *(self._crop(resized, box, flip=True) for box in mirrored),
            )
        if mode == "dense":
            return self._dense(size)
        if mode == "centre_dense":
            centre = self.passes("none", size)
            # If dense is five exact crops, the centre is one of them, and runs only once.
            return (*centre, *(item for item in self._dense(size) if item not in centre))
        return self._custom(boxes)

    def whole_image(self, size: Size, side_px: int | None = None) -> Pass:
        """One pass over the whole image, as `dense` resizes it, or fitted to this side.

        Both sides are multiples of the stride. As `dense` resizes it, a crop fits into it.
        """
        least_px = self.graph.smallest_px
        if side_px is None:
            side_px, least_px = self.input.resize_px, max(least_px, self.input.crop_px)
        resized = on_stride(self.fitted(size, side_px), self.graph.stride_px, least_px)
        windows_from = "window_logits" if self.graph.kind == "windows" else "class_map"
        return Pass(
            resized,
            whole(resized),
            interpolation=self.input.interpolation,
            windows_from=windows_from,
        )

    def _crop(self, resized: Size, box: Box, *, flip: bool = False) -> Pass:
        return Pass(resized, box, flip, interpolation=self.input.interpolation)

    def decoding(self, boxes: tuple[FractionBox, ...] = ()) -> LeastSize | None:
        """The smallest size to decode a file in; None: in full (`decode: exact`)."""
        if self.input.decode == "exact":
            return None
        return partial(self.least_size, boxes=boxes)

    def least_size(self, size: Size, boxes: tuple[FractionBox, ...] = ()) -> Size:
        """The smallest size that an image of `size` may be decoded in.

        It is the same for every mode, so that all modes, in training and in serving, see the same
        pixels of a file. Only custom boxes ask for more: a crop of a small part needs its pixels.
        """
        factor = self.input.decode_factor
        side_px = max(self.input.resize_px, self.adaptive.first_px if self.adaptive else 0)
        if min(size.height, size.width) < 2 * factor * side_px:
            return size  # no decoder scales by less than 2
        wanted = [self.fitted(size, side_px)]
        if self.graph.takes_whole_images:
            wanted += [self.whole_image(size, side_px).resized, self.whole_image(size).resized]
        wanted += [
            Size(
                math.ceil(self.input.crop_px / (box.bottom - box.top)),
                math.ceil(self.input.crop_px / (box.right - box.left)),
            )
            for box in boxes
            if box.top < box.bottom and box.left < box.right  # others are refused later
        ]
        return Size(
            factor * max(one.height for one in wanted), factor * max(one.width for one in wanted)
        )

    def cost(self, passes: tuple[Pass, ...]) -> float:
        """Pixels that the network sees, in single crops."""
        return sum(p.size.pixels for p in passes) / self.input.crop_px**2

    def _dense(self, size: Size) -> tuple[Pass, ...]:
        """One pass over the whole image, or five exact crops if they cost less.

        The five windows of a panorama use only a part of it: above an aspect ratio of about 3:1,
        the one pass sees more pixels than five crops.
        """
        one, crop_px = self.whole_image(size), self.input.crop_px
        if one.resized.pixels > 5 * crop_px**2:
            return self.passes("five_crop", size)
        return (replace(one, windows=five_boxes(one.resized, crop_px)),)

    def _cheap(self, size: Size) -> Pass:
        """The first pass of `adaptive`: a centre crop, or the whole image scaled down."""
        first = self.adaptive
        if first is None:
            return self.passes("none", size)[0]
        if first.first_crop_px:
            resized = self.fitted(size, first.first_px)
            return self._crop(resized, centre_box(resized, first.first_crop_px))
        one = self.whole_image(size, first.first_px)
        if one.resized.pixels > self.input.crop_px**2:
            return self.passes("none", size)[0]
        if first.first_inset:
            one = replace(one, windows=(inset(one.resized, self.graph.stride_px // 2),))
        return one

    def _custom(self, boxes: tuple[FractionBox, ...]) -> tuple[Pass, ...]:
        side = Size(self.input.crop_px, self.input.crop_px)
        crop = self._crop(side, whole(side))
        return tuple(replace(crop, flip=box.flip, source=box) for box in boxes)
