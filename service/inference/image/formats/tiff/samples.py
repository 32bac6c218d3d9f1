"""The numbers in a TIFF of samples that Pillow has no mode for.

libtiff unpacks them, through Pillow, as if they were bytes of grey. The numbers are made of the
bytes here, a few rows at a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import BadImage, TooLarge, UnsupportedImage
from service.inference.image.formats.ifd import Directory
from service.inference.image.formats.tiff.file import PARTS, Changes, open_tiff
from service.inference.image.formats.tiff.layout import (
    BLACK_IS_ZERO,
    FLOAT,
    JPEG,
    OLD_JPEG,
    SEPARATE,
    SIGNED,
    UNSIGNED,
    Layout,
    Tag,
)
from service.inference.image.limits import Limits
from service.inference.image.rows import Loaded

BYTES_PER_PIXEL = 8
"""Bytes that the samples of a pixel may take in an image of `max_pixels`; more in a smaller one."""

_CODES = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}
_WIDTHS = {UNSIGNED: (*range(9, 33), 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 32, 64)}
_WHOLE = (8, 16, 32, 64)
_PLAIN, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3

Values = NDArray[Any]
"""Numbers of the type that the file has."""


class Samples:
    """The samples of an image, all of one type."""

    def __init__(self, data: bytes, directory: Directory, layout: Layout, limits: Limits) -> None:
        """Unpack them.

        Raises:
            BadImage: the file is broken.
            TooLarge: they take too much memory.
            UnsupportedImage: they are stored in a way that is not known here.
        """
        _check(layout)
        self.layout = layout
        self._bits, kind = layout.bits[0], layout.formats[0]
        self._type = f"{_CODES[kind]}{self._bits // 8}"
        self._order = directory.order
        planes = layout.samples if layout.planar == SEPARATE else 1
        self._in_plane = layout.samples // planes
        width, height = layout.size
        self._block = layout.tile[0] if layout.tile else width
        """Pixels that lie side by side in a tile or strip: differences start again in each."""
        self._block_bytes = -(-self._block * self._in_plane * self._bits // 8)
        row_bytes = -(-width // self._block) * self._block_bytes
        total, limit = row_bytes * planes * height, BYTES_PER_PIXEL * limits.max_pixels
        if total > limit:
            raise TooLarge(
                f"the TIFF has {total / 1e6:.0f} MB of samples; the limit is {limit / 1e6:.0f} MB "
                f"({BYTES_PER_PIXEL} bytes × QUINCUNX_MAX_PIXELS)"
            )
        self._planes: list[Loaded] = []
        for plane in range(planes):
            changes = self._as_bytes(row_bytes)
            if planes > 1:
                changes |= _part(directory, plane, planes)
            self._planes.append(Loaded(open_tiff(data, directory, changes, limits)))

    def rows(self, top: int, bottom: int) -> Values:
        """The numbers of some rows: [rows, W, samples of a pixel]."""
        planes = [np.asarray(plane.rows(top, bottom)) for plane in self._planes]
        numbers = [self._numbers(plane) for plane in planes]
        return numbers[0] if len(numbers) == 1 else np.concatenate(numbers, axis=2)

    def _as_bytes(self, row_bytes: int) -> Changes:
        changes: Changes = {
            Tag.WIDTH: row_bytes,
            Tag.BITS: 8,
            Tag.SAMPLES: 1,
            Tag.PLANAR: 1,
            Tag.PHOTOMETRIC: BLACK_IS_ZERO,
            Tag.PREDICTOR: None,
            Tag.EXTRA_SAMPLES: None,
        }
        return changes | {Tag.TILE_WIDTH: self._block_bytes} if self.layout.tile else changes

    def _numbers(self, rows: NDArray[np.uint8]) -> Values:
        """uint8[rows, bytes] -> [rows, W, samples]."""
        height = len(rows)
        blocks = rows.reshape(-1, self._block_bytes)
        shape = len(blocks), self._block, self._in_plane
        if self._bits not in _WHOLE:
            numbers = _unpack(blocks, self._block * self._in_plane, self._bits).reshape(shape)
        elif self.layout.predictor == _FLOAT_DIFFERENCES:
            numbers = _add_float(blocks, shape, self._type)
        else:
            numbers = blocks.view(self._order + self._type).reshape(shape)
            if self.layout.predictor == _DIFFERENCES:
                native = numbers.astype(self._type).view(f"u{self._bits // 8}")
                numbers = native.cumsum(axis=1, dtype=native.dtype).view(self._type)
        numbers = numbers.reshape(height, -1, self._in_plane)
        return numbers[:, : self.layout.size[0]]


def _check(layout: Layout) -> None:
    bits, kind = layout.bits[0], layout.formats[0]
    predictors = {_PLAIN, *([_DIFFERENCES] if bits in _WHOLE else [])}
    if kind == FLOAT:
        predictors.add(_FLOAT_DIFFERENCES)
    if (
        {*layout.bits} != {bits}
        or {*layout.formats} != {kind}
        or bits not in _WIDTHS.get(kind, ())
        or layout.compression in (OLD_JPEG, JPEG)
        or layout.predictor not in predictors
    ):
        raise UnsupportedImage(f"the image is a TIFF of {layout.describe()}, which is not decoded")


def _part(directory: Directory, plane: int, planes: int) -> Changes:
    """The strips or tiles of one of several planes."""
    changes: Changes = {}
    for tag in (*PARTS[0], *PARTS[1]):
        values = directory.array(tag)
        if len(values) % planes:
            raise BadImage(f"the TIFF is broken: {len(values)} strips are no {planes} planes")
        count = len(values) // planes
        if count:
            changes[tag] = values[plane * count : (plane + 1) * count]
    return changes


def _unpack(blocks: NDArray[np.uint8], count: int, bits: int) -> Values:
    """Numbers of `bits` bits, packed without gaps: [rows, count]."""
    width = 16 if bits <= 16 else 32
    single = np.unpackbits(blocks, axis=1, count=count * bits).reshape(-1, count, bits)
    filled = np.zeros((len(blocks), count, width), np.uint8)
    filled[..., width - bits :] = single
    return np.packbits(filled, axis=2).view(f">u{width // 8}")[..., 0]


def _add_float(blocks: NDArray[np.uint8], shape: tuple[int, int, int], code: str) -> Values:
    """Undo predictor 3: bytes as differences, the highest bytes of all samples first."""
    rows, block, samples = shape
    size = int(code[1:])
    summed = blocks.reshape(rows, block * size, samples).cumsum(axis=1, dtype=np.uint8)
    parts = summed.reshape(rows, size, block * samples).transpose(0, 2, 1)
    return np.ascontiguousarray(parts).view(f">{code}").reshape(shape)
