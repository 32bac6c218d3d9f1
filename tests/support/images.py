"""Images that the tests draw: deterministic, with structure at every scale."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {"red": (215, 40, 35), "green": (40, 180, 60), "blue": (45, 70, 220)}


def drawn(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blobs and noise of random colours: uint8[height, width, 3], unlike its own mirror image."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    canvas = np.zeros((height, width, 3), np.float32)
    for _ in range(6):
        cy, cx = random.uniform(0, height), random.uniform(0, width)
        spread = random.uniform(0.1, 0.5) * max(height, width)
        blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * spread**2))
        canvas += blob[..., None] * random.uniform(0, 160, 3)
    canvas += random.normal(0, 8, canvas.shape)
    return canvas.clip(0, 255).astype(np.uint8)


def coloured(name: str, height: int = 120, width: int = 150, seed: int = 0) -> NDArray[np.uint8]:
    """An image that the tiny package puts into class `name`: uint8[height, width, 3]."""
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return (np.asarray(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)


def encoded(image: NDArray[np.uint8], kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()
