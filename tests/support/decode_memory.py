"""Run in a process of its own: the memory that decoding takes, and what happens without it.

python -m tests.support.decode_memory peak|scaled|limits
"""

import gc
import io
import json
import resource
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from service.api.server.freed_memory import give_back_memory
from service.errors import QuincunxError
from service.inference.decode import decode, decode_image
from service.inference.image.budget import DECODING
from service.inference.image.geometry import Size
from tests.support.files import chunk, png, tiff

SIZES = {"peak": (2000, 1500), "scaled": (4000, 3000), "limits": (800, 600)}
WIDTH, HEIGHT = SIZES[sys.argv[-1]]
MP = WIDTH * HEIGHT
SPARE_BYTES = 4 * 1024 * 1024
"""What the rows take that are converted at a time, however large the image."""


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp() -> NDArray[np.int64]:
    return np.add.outer(np.arange(HEIGHT) // 9, np.arange(WIDTH) // 7)


def grey_and_rgb() -> tuple[Image.Image, Image.Image]:
    grey = Image.fromarray((ramp() % 256).astype(np.uint8))
    mirrored = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return grey, Image.merge("RGB", (grey, mirrored, grey))


def jpegs() -> Iterator[tuple[str, bytes]]:
    """A JPEG of every kind that takes memory in its own way."""
    _, rgb = grey_and_rgb()
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "JPEG", saved(rgb, "JPEG")
    yield "JPEG turned", saved(rgb, "JPEG", exif=turned)
    yield "JPEG progressive", saved(rgb, "JPEG", progressive=True, subsampling=0)
    yield "JPEG CMYK progressive", saved(rgb.convert("CMYK"), "JPEG", progressive=True)
    yield "JPEG without end", saved(rgb, "JPEG")[:-2]


def files() -> Iterator[tuple[str, bytes]]:
    """An image of every kind that takes memory in its own way."""
    yield from jpegs()
    grey, rgb = grey_and_rgb()
    rgba = Image.merge("RGBA", (*rgb.split(), grey))
    palette = rgb.resize((200, 150)).quantize(200).resize(rgb.size, Image.Resampling.NEAREST)
    deep = (ramp() * 100 % 65536).astype(np.uint16)
    key = chunk(b"tRNS", b"\0\1" * 3)
    yield "PNG RGBA", saved(rgba, "PNG", compress_level=1)
    yield "PNG LA", saved(rgba.convert("LA"), "PNG", compress_level=1)
    yield "PNG palette alpha", saved(palette, "PNG", compress_level=1, transparency=bytes(200))
    yield "PNG 16", png(deep, 0)
    yield "PNG RGB 16", png(np.repeat(deep, 3, axis=1), 2)
    yield "PNG RGB 16 key", png(np.repeat(deep, 3, axis=1), 2, before=key)
    yield "GIF", saved(palette, "GIF")
    yield "WEBP", saved(rgb, "WEBP", quality=20, method=0)
    yield "WEBP alpha", saved(rgba, "WEBP", lossless=True, quality=0, method=0)
    yield "BMP", saved(rgb, "BMP")
    yield "TIFF", saved(rgb, "TIFF", compression="tiff_lzw")
    yield "TIFF CMYK", saved(rgb.convert("CMYK"), "TIFF")
    yield "TIFF 16", tiff(deep, deflate=True)
    yield "TIFF float", tiff((ramp() % 256 / 255).astype(np.float32), deflate=True)
    yield "TIFF double", tiff(ramp() % 256 / 255, strip_rows=16)
    if features.check("avif"):
        yield "AVIF alpha", saved(rgba, "AVIF", speed=10, quality=30, subsampling="4:4:4")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peaks() -> dict[str, float]:
    """Bytes for each pixel that the process grew by, while it decoded, beyond the spare."""
    found: dict[str, float] = {}
    for name, data in files():
        gc.collect()
        give_back_memory()
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _status("VmRSS")
        decode(data)
        found[name] = (_status("VmHWM") - before - SPARE_BYTES) / MP
    return found


def scaled() -> dict[str, dict[int, float]]:
    """The same for JPEGs that are scaled down, in bytes for each pixel that was claimed.

    Kind of JPEG to scale to bytes.
    """
    claimed: list[int] = []
    claim = DECODING.claim

    def noted(pixels: int, instead_of: int = 0) -> None:
        claimed.append(pixels)
        claim(pixels, instead_of)

    DECODING.claim = noted
    found: dict[str, dict[int, float]] = {}
    for name, data in jpegs():
        if name == "JPEG without end":  # never scaled
            continue
        found[name] = {}
        for scale in (2, 4, 8):
            least = Size(HEIGHT // scale, WIDTH // scale)
            if "turned" in name:
                least = Size(least.width, least.height)
            gc.collect()
            give_back_memory()
            Path("/proc/self/clear_refs").write_text("5")
            before = _status("VmRSS")
            image = decode_image(data, least_size=partial(_same, least))
            assert image.scale == scale
            peak = _status("VmHWM") - before - SPARE_BYTES
            found[name][scale] = peak / claimed[-1]
            del image
    return found


def _same(least: Size, _: Size) -> Size:
    return least


def limits() -> dict[str, list[str]]:
    """How decoding ends, with more and more memory: the kinds of outcome in their order."""
    found: dict[str, list[str]] = {}
    for name, data in files():
        decode(data)
        outcomes: list[str] = []
        start = _status("VmSize")
        for more in np.linspace(0, 24 * MP + 8 * SPARE_BYTES, 12):
            resource.setrlimit(resource.RLIMIT_AS, (start + int(more), resource.RLIM_INFINITY))
            try:
                decode(data)
                outcome = "decoded"
            except QuincunxError as error:
                outcome = type(error).__name__
            if outcome not in outcomes:
                outcomes.append(outcome)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        found[name] = outcomes
    return found


if __name__ == "__main__":
    decode(next(files())[1])  # what is loaded once does not count
    print(json.dumps({"peak": peaks, "scaled": scaled, "limits": limits}[sys.argv[1]]()))
