"""Check an opened graph against its manifest: run it and check its outputs."""

import numpy as np
from numpy.typing import NDArray

from service.errors import InferenceFailed, ModelPackageError
from service.inference.image.geometry import Box, Size
from service.inference.runtime.session import Output, Session
from service.inference.tta.planner import Planner
from service.inference.tta.windows import as_input
from service.package.manifest import Manifest

STRIDES = 4
"""Cells are counted on an image that is this many strides wider than high. Windows are compared on
an image whose side is a multiple of this many strides."""
BLOCK_PX = 8
EXACT_SHARE, INT8_SHARE = 0.02, 0.25
"""How much the logits of a window over the whole image may differ from the logits, as a share of
the largest. In int8 the two computations may round differently."""
ALIKE = 3e-7
"""If the logits of two windows differ by no more than this share of the largest, the windows are
within one cell. It is the rounding of float32: between two cells of an untrained network the
difference is only a little larger.
"""
Values = NDArray[np.float32]


def check_fit(session: Session, manifest: Manifest, *, exact: bool = True) -> None:
    """Run the graph on a crop and, where the manifest says that it can, on a whole image.

    If the manifest says that the graph has an embedding, the embedding is run too. The declared
    outputs of a graph do not show everything: a network that was exported with a fixed size inside
    fails only when it runs, and a network whose training failed gives NaN. A class map or windows
    of another layer give answers of the right shape with wrong values.

    `exact`: false for int8, where two computations of the same logits are rounded differently.

    Raises:
        ModelPackageError: the graph fails, gives other shapes than the contract, gives NaN, or its
            windows do not agree with its logits or with its stride.
    """
    check = _Check(session, manifest, EXACT_SHARE if exact else INT8_SHARE)
    crop_px, graph = manifest.input.crop_px, manifest.graph
    # Two crops show a graph that takes one image at a time. On a GPU each shape costs a search.
    on_cpu = session.provider == "cpu"
    images = 2 if on_cpu else 1
    check.run(images, Size(crop_px, crop_px), "logits", (images, check.classes))
    if on_cpu and graph.sizes == "dynamic":
        smallest = Size(graph.smallest_px, graph.smallest_px)
        check.run(1, smallest, "logits", (1, check.classes))
    if graph.embedding is not None:
        check.embedding(images, Size(crop_px, crop_px), graph.embedding)
    if not graph.takes_whole_images:
        return
    square = Size(manifest.input.resize_px, manifest.input.resize_px)
    whole = Planner(manifest.input, graph=graph).whole_image(square).resized
    if graph.kind == "class_map":
        check.class_map(whole)
        wide = Size(whole.height, whole.width + STRIDES * graph.stride_px)
        if on_cpu:
            check.cells(wide)
    else:
        # On a side of several cells, a stride that is really two or four times as long shows.
        side_px = -(-whole.height // (STRIDES * graph.stride_px)) * STRIDES * graph.stride_px
        check.windows(Size(side_px, side_px), images)


class _Check:
    """Runs of one graph, with a check of the outputs of each."""

    def __init__(self, session: Session, manifest: Manifest, share: float) -> None:
        self._session = session
        self._stride_px = manifest.graph.stride_px
        self._share = share
        self.classes = len(manifest.labels)

    def run(
        self,
        number: int,
        size: Size,
        output: Output,
        expected: tuple[int | None, ...],
        windows: Values | None = None,
    ) -> Values:
        """Run `number` drawn images.

        The output must be finite and have the shape `expected`. None stands for an axis of any
        length.
        """
        views = _drawn(number, size)
        try:
            got = self._session.run(views, output, windows)
        except InferenceFailed as error:
            raise ModelPackageError(f"{self._session.path} does not run: {error}") from error
        if len(got.shape) != len(expected) or any(
            wanted not in (None, axis) for axis, wanted in zip(got.shape, expected, strict=True)
        ):
            shape = ", ".join("?" if axis is None else str(axis) for axis in expected)
            self._refuse(
                f"must give {output} of shape [{shape}] for images of {list(views.shape)}, "
                f"but gives {list(got.shape)}"
            )
        if not np.isfinite(got).all():
            self._refuse(f"gives {output} that are NaN or infinite")
        return got

    def embedding(self, number: int, size: Size, channels: int) -> None:
        """Check that each image has its own embedding, and that the logits stay the same."""
        views = _drawn(number, size)
        logits = self.run(number, size, "logits", (number, self.classes))
        try:
            beside, found = self._session.run_with_embedding(views, "logits")
            (_, alone) = self._session.run_with_embedding(views[:1], "logits")
        except InferenceFailed as error:
            raise ModelPackageError(f"{self._session.path} does not run: {error}") from error
        if found.shape != (number, channels):
            self._refuse(
                f"must give embedding of shape {[number, channels]} for images of "
                f"{list(views.shape)}, but gives {list(found.shape)}"
            )
        if not np.isfinite(found).all():
            self._refuse("gives an embedding that is NaN or infinite")
        self._same(beside, logits, "the logits of a run with embedding")
        self._same(alone, found[:1], "the embedding of one image alone", "that in a batch")

    def class_map(self, size: Size) -> None:
        """Check that the mean of the class map is equal to the logits."""
        logits = self.run(1, size, "logits", (1, self.classes))
        class_map = self.run(1, size, "class_map", (1, self.classes, None, None))
        cells, expected = class_map.shape[2:], (self._along(size.height), self._along(size.width))
        if any(abs(got - wanted) > 1 for got, wanted in zip(cells, expected, strict=True)):
            shape = [1, self.classes, *expected]
            self._refuse(
                f"must give class_map of shape {shape} for images of "
                f"[1, {size.height}, {size.width}, 3], but gives {list(class_map.shape)}: "
                f"graph.stride_px is {self._stride_px}"
            )
        self._same(class_map.mean((2, 3)), logits, "the mean of class_map")

    def cells(self, wide: Size) -> None:
        """Check that an image that is one stride wider gives one more cell of the class map."""
        high, across = self.run(1, wide, "class_map", (1, self.classes, None, None)).shape[2:]
        if across - high != STRIDES:
            self._refuse(
                f"has {across - high} cells more in an image that is "
                f"{STRIDES * self._stride_px} px wider: graph.stride_px cannot be {self._stride_px}"
            )

    def windows(self, size: Size, images: int) -> None:
        """Check that the whole window gives the logits.

        Windows within one cell must agree, others must differ.
        """
        step, most = self._stride_px, self._stride_px - self._stride_px // 4
        boxes = [
            Box(0, 0, size.height, size.width),
            Box(0, 0, step, step),
            Box(0, 0, most, most),
            Box(size.height - step, size.width - step, step, step),
            Box(0, step, step, step),
        ]
        shape = (images, len(boxes), self.classes)
        got = self.run(images, size, "window_logits", shape, as_input(boxes, size))
        logits = self.run(images, size, "logits", (images, self.classes))
        self._same(got[:, 0], logits, "the window of the whole image")
        self._same(
            got[:, 2], got[:, 1], f"most of a cell of graph.stride_px {step}", "the whole cell"
        )
        for index, where in ((3, "the last cell"), (4, "the cell beside it")):
            if np.abs(got[:, index] - got[:, 1]).max() <= ALIKE * np.abs(logits).max():
                self._refuse(
                    f"gives the same window_logits for the first cell and {where}: it takes no "
                    f"notice of windows, or its stride is not {step} px"
                )

    def _along(self, length_px: int) -> int:
        return -(-length_px // self._stride_px)

    def _same(self, got: Values, wanted: Values, what: str, of: str = "the logits") -> None:
        apart, largest = float(np.abs(got - wanted).max()), float(np.abs(wanted).max())
        if apart > self._share * largest + 1e-6:
            self._refuse(
                f"is not what its manifest says: {what} must give {of}, but is {apart:.3g} apart "
                f"where the largest is {largest:.3g}"
            )

    def _refuse(self, reason: str) -> None:
        raise ModelPackageError(f"{self._session.path} {reason}")


def _drawn(number: int, size: Size) -> NDArray[np.uint8]:
    """Coarse noise, the same at every call: every value of a pixel, every channel by itself."""
    cells = (number, -(-size.height // BLOCK_PX), -(-size.width // BLOCK_PX), 3)
    coarse = np.random.default_rng(0).integers(0, 256, cells, dtype=np.uint8)
    fine = coarse.repeat(BLOCK_PX, axis=1).repeat(BLOCK_PX, axis=2)
    return np.ascontiguousarray(fine[:, : size.height, : size.width])
