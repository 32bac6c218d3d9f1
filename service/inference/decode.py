"""Bytes to pixels: any image a person may send becomes uint8[H, W, 3] RGB, or a clear error."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import BadImage, ClientError, TooLarge, UnsupportedImage
from service.inference.bombs import MAX_DECODE_MS, Clocked, check_scans, check_tiles

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
BACKGROUND = (255, 255, 255)

# Pillow's own limit only warns up to twice its value, and `warnings` filters are not thread-safe;
# `_check_size` reads the same header and refuses.
Image.MAX_IMAGE_PIXELS = None


def decode(
    data: bytes, max_pixels: int = MAX_PIXELS, max_decode_ms: int = MAX_DECODE_MS
) -> NDArray[np.uint8]:
    """Decode an image file: uint8[H, W, 3], RGB, upright.

    The first frame of an animation; EXIF orientation applied; grey, palette, CMYK and 16-bit
    converted; transparency laid over white. The size is read from the header and checked before
    any pixel is allocated; `service.inference.bombs` bounds what else a file may cost.

    Raises:
        BadImage: the bytes are no image, or a broken one.
        UnsupportedImage: a format outside `FORMATS`.
        TooLarge: more than `max_pixels` pixels, or more than `max_decode_ms` of processor time.
    """
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    try:
        with Image.open(Clocked(data, max_decode_ms), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            check_tiles(image, max_pixels)
            if image.format in ("JPEG", "MPO"):
                check_scans(image, data, max_pixels)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(_to_rgb(image))
    except UnidentifiedImageError:
        raise _unidentified(data, max_decode_ms) from None
    except ClientError:
        raise
    except Exception as error:  # a parser over hostile bytes: whatever it raises, they are at fault
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
    return image if image.mode == "RGB" else image.convert("RGB")  # which copies RGB, too


def _to_grey8(image: Image.Image) -> Image.Image:
    """16-bit and float grey to 8 bits: 16-bit by its upper byte, anything else by its own range."""
    values = np.asarray(image, dtype=np.float64)
    low, high = (0.0, 65535.0) if image.mode.startswith("I") else (0.0, 1.0)
    if values.size and not (values.min() >= low and values.max() <= high):
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scaled = np.nan_to_num((values - low) / max(high - low, 1e-12) * 255)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def _unidentified(data: bytes, max_decode_ms: int) -> BadImage | UnsupportedImage:
    try:
        with Image.open(Clocked(data, max_decode_ms)) as image:
            return UnsupportedImage(
                f"the image is {image.format}; accepted formats: {', '.join(FORMATS)}"
            )
    except Exception:  # any failure means the same: no format claims these bytes
        return BadImage(f"the bytes are no image; accepted formats: {', '.join(FORMATS)}")
