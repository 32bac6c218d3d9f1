"""Bytes to pixels: any image a person may send becomes uint8[H, W, 3] RGB, or a clear error."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import BadImage, TooLarge, UnsupportedImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
BACKGROUND = (255, 255, 255)

# Pillow's own limit only warns up to twice its value, and `warnings` filters are not thread-safe;
# `_check_size` reads the same header and refuses.
Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image file: uint8[H, W, 3], RGB, upright.

    The first frame of an animation; EXIF orientation applied; grey, palette, CMYK and 16-bit
    converted; transparency laid over white. The size is read from the header and checked before
    any pixel is allocated.

    Raises:
        BadImage: the bytes are no image, or a broken one.
        UnsupportedImage: a format outside `FORMATS`.
        TooLarge: more than `max_pixels` pixels.
    """
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            image.load()
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise BadImage(f"the image cannot be decoded: {error}") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise TooLarge(
            f"image is {width}×{height} px ({width * height / 1e6:.0f} MP); "
            f"the limit is {max_pixels / 1e6:.0f} MP (QUINCUNX_MAX_PIXELS)"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_grey8(image)
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas
    return image.convert("RGB")


def _to_grey8(image: Image.Image) -> Image.Image:
    """16-bit and float grey to 8 bits: 16-bit by its upper byte, anything else by its own range."""
    values = np.asarray(image, dtype=np.float64)
    low, high = (0.0, 65535.0) if image.mode.startswith("I") else (0.0, 1.0)
    if values.size and not (values.min() >= low and values.max() <= high):
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scaled = np.nan_to_num((values - low) / max(high - low, 1e-12) * 255)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def _unidentified(data: bytes) -> BadImage | UnsupportedImage:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return UnsupportedImage(
                f"the image is {image.format}; accepted formats: {', '.join(FORMATS)}"
            )
    except Exception:  # any failure means the same: no format claims these bytes
        return BadImage(f"the bytes are no image; accepted formats: {', '.join(FORMATS)}")
