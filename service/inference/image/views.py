"""Make views: resize and cut, in uint8, with Pillow's antialiased bilinear filter.

torchvision's Resize calls the same filter on the same pixels, so a view equals torchvision's.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import ImageTooSmall, UsageError
from service.inference.image.geometry import Box, FractionBox, Size

Pixels = NDArray[np.uint8]

_CONTRACT = "an array of uint8 of shape (H, W, 3)"

MOST_ENLARGED_PX = 10_000_000
"""The most pixels that an image is enlarged to: one of 1×30000 px would become half a gigabyte."""


def size_of(image: Pixels) -> Size:
    """Height and width of uint8[H, W, 3]."""
    return Size(image.shape[0], image.shape[1])


def check_image(image: object) -> Pixels:
    """Hold what a caller gives as uint8[H, W, 3] to the contract, and return it. Nothing is cast.

    Raises:
        UsageError: not uint8[H, W, 3] with H, W >= 1, or an array with masked elements.
    """
    kind = type(image).__name__
    if not isinstance(image, np.ndarray) or isinstance(image, np.ma.MaskedArray):
        raise UsageError(f"an image must be the bytes of a file, or {_CONTRACT}, but got {kind}")
    array = cast(NDArray[Any], image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise UsageError(
            f"an image must be {_CONTRACT}, but got {array.dtype} of shape {array.shape}"
        )
    return array


def check_images(images: object) -> None:
    """Hold a caller's sequence of images to the contract; each image has `check_image`.

    Raises:
        UsageError: one image, a path, or something else that is no sequence of images.
    """
    got = type(images).__name__
    if isinstance(images, np.ndarray):
        shape = cast(NDArray[Any], images).shape
        if len(shape) == 4:
            return
        got = f"an array of shape {shape}"
    elif isinstance(images, Sequence) and not isinstance(
        images, (bytes, bytearray, memoryview, str)
    ):
        return
    raise UsageError(
        f"images must be a sequence, each the bytes of a file or {_CONTRACT}, but got {got}"
    )


def resize(image: Pixels, size: Size) -> Pixels:
    """uint8[H, W, 3] -> uint8[size.height, size.width, 3].

    Raises:
        ImageTooSmall: so narrow that it would have to be enlarged beyond `MOST_ENLARGED_PX`.
    """
    given = size_of(image)
    if given == size:
        return image
    if size.pixels > max(given.pixels, MOST_ENLARGED_PX):
        raise ImageTooSmall(
            f"image is {given.width}×{given.height} px: made {size.width}×{size.height} px for the "
            f"model it would have {size.pixels / 1e6:.0f} MP; the limit is "
            f"{MOST_ENLARGED_PX / 1e6:.0f} MP"
        )
    resized = Image.fromarray(image).resize((size.width, size.height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def cut(image: Pixels, box: Box, *, flip: bool = False) -> Pixels:
    """The pixels of `box`, mirrored left to right where `flip`: uint8[h, w, 3]."""
    pixels = image[box.top : box.bottom, box.left : box.right]
    return pixels[:, ::-1] if flip else pixels


def resized_crop(image: Pixels, box: FractionBox, side_px: int) -> Pixels:
    """Cut a fraction of the image and resize it to a square: uint8[S, S, 3].

    Raises:
        UsageError: the box is empty, reaches outside the image, or covers under one pixel.
    """
    check_fractions(box)
    height, width = image.shape[:2]
    edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    if edges[2] - edges[0] < 1 or edges[3] - edges[1] < 1:
        raise UsageError(f"box {_text(box)} covers less than one pixel of {width}×{height} px")
    made = Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BILINEAR, box=edges)
    pixels = np.asarray(made)
    return pixels[:, ::-1] if box.flip else pixels


def check_fractions(box: FractionBox) -> None:
    """Raises UsageError unless the box is not empty and lies inside the image."""
    if not (0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1):
        raise UsageError(
            "a box must have 0 <= left < right <= 1 and 0 <= top < bottom <= 1, "
            f"but got {_text(box)}"
        )


def _text(box: FractionBox) -> str:
    return f"({box.left:g}, {box.top:g}, {box.right:g}, {box.bottom:g})"
