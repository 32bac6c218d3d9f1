"""What is measured on: the user's own photos, or JPEGs drawn in memory."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from service.errors import UsageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
DRAWN = 16
DRAWN_QUALITY = 90


@dataclass(frozen=True)
class Photos:
    """Encoded images, and one line that says what they are."""

    files: tuple[bytes, ...]
    description: str
    content_type: str | None = None
    """Of every file; None: read off its first bytes."""


def photos(folder: Path | None, size: str, seed: int, most: int = 256) -> Photos:
    """The images of `folder`, or drawn ones of `size` ("500x375") where there is none.

    Raises:
        UsageError: an empty folder, or a size that is none.
    """
    if folder is None:
        return drawn(*_parse_size(size), seed=seed)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)[:most]
    if not paths:
        raise UsageError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))})")
    files = tuple(path.read_bytes() for path in paths)
    return Photos(files, f"{len(files)} files, {_mean_kb(files)} kB on average")


def drawn(width_px: int, height_px: int, seed: int, count: int = DRAWN) -> Photos:
    """JPEGs with the gradients, edges and grain of a photo, so that decoding costs what it does."""
    generator = np.random.default_rng(seed)
    files = tuple(_jpeg(_scene(width_px, height_px, generator)) for _ in range(count))
    return Photos(
        files,
        f"{count} drawn JPEGs of {width_px}×{height_px} px, quality {DRAWN_QUALITY}, "
        f"{_mean_kb(files)} kB on average",
    )


def _scene(width_px: int, height_px: int, generator: np.random.Generator) -> Image.Image:
    coarse = generator.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth).astype(np.int16)
    for _ in range(12):  # flat patches with sharp edges
        top, left = generator.integers(0, height_px), generator.integers(0, width_px)
        patch = pixels[top : top + height_px // 4, left : left + width_px // 4]
        patch += generator.integers(-60, 61, size=3, dtype=np.int16)
    pixels += generator.normal(0, 5, size=pixels.shape).astype(np.int16)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=DRAWN_QUALITY)
    return buffer.getvalue()


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UsageError(f"a size is WIDTHxHEIGHT in pixels, such as 500x375, but got {text!r}")
    return int(width), int(height)


def _mean_kb(files: tuple[bytes, ...]) -> int:
    return round(sum(map(len, files)) / len(files) / 1000)
