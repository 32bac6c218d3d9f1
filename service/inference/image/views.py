"""Make views: resize and cut, in uint8, with Pillow's antialiased filters.

torchvision's Resize calls the same filters on the same pixels, so a view equals torchvision's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import ImageTooSmall, UsageError
from service.inference.image.decoded import DecodedImage, Edges
from service.inference.image.geometry import Box, FractionBox, Size
from service.package.manifest import Interpolation

Pixels = NDArray[np.uint8]
AnyImage = Pixels | DecodedImage
"""An image to make views of: uint8[H, W, 3] of a caller, or a decoded file."""

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_CONTRACT = "an array of uint8 of shape (H, W, 3)"

MOST_ENLARGED_PX = 10_000_000
"""An image is enlarged to at most this many pixels: an image of 1×30000 px would become half a
gigabyte."""


def size_of(image: AnyImage) -> Size:
    """Height and width; of a decoded file: those of the original, whatever its scale."""
    if isinstance(image, DecodedImage):
        return image.size
    return Size(image.shape[0], image.shape[1])


def mirrored(image: AnyImage) -> AnyImage:
    """The image, mirrored left to right."""
    if isinstance(image, DecodedImage):
        return image.mirrored()
    return np.ascontiguousarray(image[:, ::-1])


def as_pixels(image: AnyImage) -> Pixels:
    """The pixels that an image holds: uint8[h, w, 3], smaller than the original if scaled."""
    return image.array() if isinstance(image, DecodedImage) else image


def _hint(given: object) -> str:
    """How to make an image of what people try first."""
    if isinstance(given, (str, Path)):
        return "; read the file with Path(name).read_bytes()"
    if isinstance(given, Image.Image):
        return "; convert it with np.asarray(image.convert('RGB'))"
    return ""


def check_image(image: object) -> AnyImage:
    """Return an image that a caller gave as uint8[H, W, 3], or refuse it. Nothing is cast.

    A decoded image is never refused.

    Raises:
        UsageError: not uint8[H, W, 3] with H, W >= 1, or an array with masked elements.
    """
    if isinstance(image, DecodedImage):
        return image
    kind = type(image).__name__
    if not isinstance(image, np.ndarray) or isinstance(image, np.ma.MaskedArray):
        raise UsageError(
            f"an image must be the bytes of a file, or {_CONTRACT}, but got {kind}"
            + _hint(cast(object, image))
        )
    array = cast(NDArray[Any], image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise UsageError(
            f"an image must be {_CONTRACT}, but got {array.dtype} of shape {array.shape}"
        )
    return array


def check_images(images: object) -> None:
    """Refuse a value that is not a sequence of images. `check_image` checks each image.

    Raises:
        UsageError: one image, a path, or something else that is not a sequence of images.
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
        + _hint(cast(object, images))
    )


def resize(image: AnyImage, size: Size, interpolation: Interpolation = "bilinear") -> Pixels:
    """An image of H×W px -> uint8[size.height, size.width, 3].

    Raises:
        ImageTooSmall: so narrow that it would have to be enlarged beyond `MOST_ENLARGED_PX`.
    """
    given = size_of(image)
    if given == size and (not isinstance(image, DecodedImage) or image.scale == 1):
        return as_pixels(image)
    if size.pixels > max(given.pixels, MOST_ENLARGED_PX):
        raise ImageTooSmall(
            f"image is {given.width}×{given.height} px: made {size.width}×{size.height} px for the "
            f"model it would have {size.pixels / 1e6:.0f} MP; the limit is "
            f"{MOST_ENLARGED_PX / 1e6:.0f} MP"
        )
    return _resized(image, size, (0, 0, given.width, given.height), interpolation)


def _resized(image: AnyImage, size: Size, edges: Edges, interpolation: Interpolation) -> Pixels:
    """A rectangle of the original, given in its pixels, in another size."""
    if isinstance(image, DecodedImage):
        source, edges = image.image, image.edges(*edges)
    else:
        source = Image.fromarray(image)
    target = size.width, size.height
    return np.asarray(source.resize(target, _FILTERS[interpolation], box=edges))


def cut(image: Pixels, box: Box, *, flip: bool = False) -> Pixels:
    """The pixels of `box`, mirrored left to right where `flip`: uint8[h, w, 3]."""
    pixels = image[box.top : box.bottom, box.left : box.right]
    return pixels[:, ::-1] if flip else pixels


def resized_crop(
    image: AnyImage, box: FractionBox, side_px: int, interpolation: Interpolation = "bilinear"
) -> Pixels:
    """Cut a fraction of the image and resize it to a square: uint8[S, S, 3].

    Raises:
        UsageError: the box is empty, reaches outside the image, or covers under one pixel.
    """
    check_fractions(box)
    size = size_of(image)
    height, width = size.height, size.width
    edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    if edges[2] - edges[0] < 1 or edges[3] - edges[1] < 1:
        raise UsageError(f"box {_text(box)} covers less than one pixel of {width}×{height} px")
    pixels = _resized(image, Size(side_px, side_px), edges, interpolation)
    return pixels[:, ::-1] if box.flip else pixels


def check_fractions(box: FractionBox) -> None:
    """Raises UsageError unless the box is not empty and lies inside the image."""
    if not (0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1):
        raise UsageError(
            "a box must have 0 <= left < right <= 1 and 0 <= top < bottom <= 1, "
            f"but got {_text(box)}"
        )


def _text(box: FractionBox) -> str:
    return f"({box.left!r}, {box.top!r}, {box.right!r}, {box.bottom!r})"
