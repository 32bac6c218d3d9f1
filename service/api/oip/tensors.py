"""The one input tensor of an inference request: raw pixels or image files."""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from service.api.oip.numbers import NumberText, exact_uint8, read_uint8
from service.errors import TooLarge, UsageError
from service.inference.image.views import Pixels

DATATYPES = {"images": "UINT8", "encoded": "BYTES"}
PREFIX = struct.Struct("<I")
"""The length before each file of a BYTES tensor."""


@dataclass(frozen=True)
class Limits:
    """What one request may hold."""

    max_images: int
    max_pixels: int
    until: float = math.inf
    """The deadline, on the clock of `time.monotonic`."""


@dataclass(frozen=True)
class Input:
    """A tensor as the client sent it."""

    name: str
    shape: tuple[int, ...]
    raw: memoryview | None
    """The tensor as bytes; None if it came as JSON."""
    data: Any = None
    """The JSON of `data`, an array of numbers as `NumberText`."""

    def images(self, limits: Limits) -> list[bytes] | list[Pixels]:
        """The images: files of `encoded`, or uint8[H, W, 3] of `images`.

        Raises:
            UsageError: the tensor does not hold what its name and shape say.
            TooLarge: over the limits; raised before anything is allocated.
            DeadlineExceeded: the deadline passed while JSON was read.
        """
        count = self.shape[0] if self.shape else 0
        if count < 1:
            raise UsageError(
                f"{self.name} must hold at least one image, but its shape is {list(self.shape)}"
            )
        if count > limits.max_images:
            raise TooLarge(
                f"the request has {count} images; the limit is {limits.max_images} "
                "(QUINCUNX_MAX_IMAGES)"
            )
        return list(self._files()) if self.name == "encoded" else self._pixels(limits)

    def _files(self) -> Iterator[bytes]:
        if len(self.shape) not in (1, 2) or self.shape[1:] not in ((), (1,)):
            raise UsageError(f"encoded must have shape [N] or [N, 1], but got {list(self.shape)}")
        if self.raw is None:
            raise UsageError("encoded must be sent as binary data: JSON cannot hold image files")
        raw, offset = self.raw, 0
        for index in range(self.shape[0]):
            if offset + PREFIX.size > len(raw):
                raise UsageError(f"encoded is cut short before file {index} of {self.shape[0]}")
            (size,) = PREFIX.unpack_from(raw, offset)
            offset += PREFIX.size
            if offset + size > len(raw):
                raise UsageError(
                    f"encoded is cut short: file {index} has {size} bytes, "
                    f"but {len(raw) - offset} follow"
                )
            yield bytes(raw[offset : offset + size])
            offset += size
        if offset != len(raw):
            raise UsageError(
                f"encoded has {len(raw) - offset} bytes after the last of its {self.shape[0]} files"
            )

    def _pixels(self, limits: Limits) -> list[Pixels]:
        shape = self.shape
        if len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise UsageError(f"images must have shape [N, H, W, 3], but got {list(shape)}")
        if shape[1] * shape[2] > limits.max_pixels:
            raise TooLarge(
                f"images of {shape[2]}×{shape[1]} px; the limit is "
                f"{limits.max_pixels / 1e6:.0f} MP (QUINCUNX_MAX_PIXELS)"
            )
        if self.raw is None:
            return list(read_uint8(self._numbers(), shape, "images", limits.until))
        size = math.prod(shape)
        if len(self.raw) != size:
            raise UsageError(f"images has {len(self.raw)} bytes; its shape needs {size}")
        return list(np.frombuffer(self.raw, np.uint8).reshape(shape))

    def _numbers(self) -> NumberText:
        if isinstance(self.data, NumberText):
            return self.data
        for index, value in enumerate(_flat(self.data)):
            exact_uint8(value, f"images: element {index}")
        raise UsageError("the data of images must be an array of numbers")


def _flat(data: Any) -> Iterator[Any]:
    """The elements of nested lists, without recursion; none if `data` is not a list."""
    waiting: list[Iterator[Any]] = [iter(cast(list[Any], data) if isinstance(data, list) else ())]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, list):
                waiting.append(iter(cast(list[Any], value)))
                break
            yield value
        else:
            waiting.pop()
