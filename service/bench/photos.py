"""What is measured on: the user's own photos, or JPEGs drawn in memory."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from service.errors import TooLarge, UsageError
from service.listing.image_files import is_decoded
from service.listing.skipped import Skipped
from service.scoring.files import read_bytes
from service.scoring.sources.walk import Broken, walk

DRAWN = 16
DRAWN_QUALITY = 90


@dataclass(frozen=True)
class Photos:
    """Encoded images, and one line that says what they are."""

    files: tuple[bytes, ...]
    description: str
    content_type: str | None = None
    """Of every file; None: read off its first bytes."""
    skipped: Skipped = field(default_factory=Skipped)
    """Files of the user's folder that are no images; the description counts them too."""


def photos(folder: Path | None, size: str, seed: int, most: int = 256) -> Photos:
    """The images of `folder`, or drawn ones of `size` ("500x375") where there is none.

    Files of the folder that are no images are counted in the description.

    Raises:
        UsageError: a folder without images, a file that cannot be read, or a size that is none.
    """
    if folder is None:
        return drawn(*_parse_size(size), seed=seed)
    skipped = Skipped()
    paths = list(walk(str(folder), skipped, wanted=is_decoded))
    held = "; ".join(skipped.lines())
    if not paths:
        raise UsageError(f"{folder} has no images that can be decoded" + (held and f"; {held}"))
    files = tuple(_read(path) for path in paths[:most])
    told = [f"{len(files)} files, {_mean_kb(files)} kB on average"]
    if len(paths) > most:
        told.append(f"the first of {len(paths)}")
    return Photos(files, "; ".join([*told, *skipped.lines()]), skipped=skipped)


def _read(path: str) -> bytes:
    try:
        if isinstance(path, Broken):
            raise UsageError(f"{path} cannot be listed: {path.reason}")
        return read_bytes(path)
    except (OSError, TooLarge) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"{path} cannot be read: {reason or error}") from error


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
