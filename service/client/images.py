"""Images as callers have them, and the bytes that are sent.

Files are sent as they are. Pixels are sent as PNG, which loses nothing. No image is resized.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

from service.errors import UsageError
from service.scoring.files import check_kind

Image: TypeAlias = Any
"""The bytes of an image file, its path, a PIL image, or pixels as uint8[H, W, 3] or [H, W]."""

_SHAPES = "uint8[H, W, 3] or uint8[H, W]"
_EXACT = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Modes of Pillow that PNG holds without a change."""


def file_bytes(image: Image) -> bytes:
    """The bytes of an image file.

    Raises:
        UsageError: the image is of another type, or an array of another shape or type.
        OSError: a path that cannot be read, or a pipe or a device.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(cast(bytes, image))
    if isinstance(image, (str, Path)):
        check_kind(str(image))
        return Path(image).read_bytes()
    # Imported here, so that a caller who sends files loads neither.
    import numpy as np
    from PIL import Image as Pillow

    if isinstance(image, Pillow.Image):
        return _png(image)
    if isinstance(image, np.ndarray):
        return _png(Pillow.fromarray(_checked(image)))
    raise UsageError(
        "an image must be the bytes of a file, a path, a PIL image or a NumPy array, "
        f"but got {type(image).__name__}"
    )


def check_many(images: Any) -> None:
    """Refuse a single image where many are expected. The rows of its pixels are no images.

    Raises:
        UsageError: one image, or an object that cannot be iterated.
    """
    shape = getattr(images, "shape", None)
    one = isinstance(images, (str, bytes, bytearray, memoryview, Path))
    one = one or (shape is not None and (len(shape) < 3 or (len(shape) == 3 and shape[2] == 3)))
    if one or not isinstance(images, Iterable):
        raise UsageError(
            f"classify_batch takes many images, but got {type(images).__name__}; for one image use "
            "classify"
        )


def _checked(pixels: Any) -> Any:
    right = pixels.dtype == "uint8" and (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    )
    if not right or not pixels.size:
        shape = ", ".join(map(str, pixels.shape))
        raise UsageError(f"an array must be {_SHAPES}, but got {pixels.dtype}[{shape}]")
    return pixels


def _png(image: Any) -> bytes:
    if image.mode not in _EXACT:
        raise UsageError(
            f"a PIL image of the mode {image.mode!r} cannot be sent without a change; send its "
            "file, or convert it yourself: image.convert('RGB')"
        )
    buffer = io.BytesIO()
    # The server turns the picture as its EXIF orientation says, as it does for the file.
    image.save(buffer, "PNG", compress_level=1, exif=image.getexif())
    return buffer.getvalue()
