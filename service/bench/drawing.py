"""JPEGs drawn in memory that cost a decoder what a photo costs.

A drawn image has gradients, edges and the grain of a camera's sensor. The grain decides the size of
the file: 2 to 4 MB at 12 MP, as phones write them. The same seed draws the same images.
"""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.bench.image_size import ImageSize

QUALITY = 90
PATCHES = 12
GRAIN_LEVELS = 5.0
"""Standard deviation of the grain. Grain is equal in all channels, as after a camera's own
smoothing of colours."""
TILE_PX = 512
"""Grain repeats after this many pixels, because drawing it costs more than the rest of the
image."""
BAND_PX = 64
"""Grain is added to this many rows at once, so that the sums stay in the processor's cache."""


@lru_cache(maxsize=8)
def draw(size: ImageSize, seed: int, count: int) -> tuple[bytes, ...]:
    """Draw `count` different JPEGs, once: a second call returns the same bytes."""
    generator = np.random.default_rng(seed)
    tile = grain(generator)
    return tuple(jpeg(_scene(size, tile, generator)) for _ in range(count))


def grain(generator: np.random.Generator) -> NDArray[np.int16]:
    """Draw the tile of grain that `add_grain` repeats: int16[TILE_PX, TILE_PX]."""
    return generator.normal(0, GRAIN_LEVELS, (TILE_PX, TILE_PX)).round().astype(np.int16)


def _scene(
    size: ImageSize, tile: NDArray[np.int16], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw the pixels of one image: uint8[H, W, 3]."""
    width, height = size.width_px, size.height_px
    coarse = generator.integers(40, 216, size=(6, 8, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(smooth)
    for _ in range(PATCHES):  # flat differences with sharp edges
        top, left = generator.integers(0, height), generator.integers(0, width)
        patch = pixels[top : top + height // 4, left : left + width // 4]
        patch[:] = np.clip(patch + generator.integers(-60, 61, size=3, dtype=np.int16), 0, 255)
    add_grain(pixels, tile, generator)
    return pixels


def add_grain(
    pixels: NDArray[np.uint8], tile: NDArray[np.int16], generator: np.random.Generator
) -> None:
    """Add the grain, shifted at random, to uint8[H, W, 3] in place."""
    height, width = pixels.shape[:2]
    shift = generator.integers(0, TILE_PX, size=2)
    rows = np.roll(tile, tuple(shift), axis=(0, 1))
    wide = np.tile(rows, (1, -(-width // TILE_PX)))[:, :width, np.newaxis]
    for top in range(0, height, BAND_PX):
        band = pixels[top : top + BAND_PX]
        start = top % TILE_PX
        band[:] = np.clip(band + wide[start : start + len(band)], 0, 255)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """The file of an image, as all images of benchmarks are encoded."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
