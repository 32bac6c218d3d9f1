"""Any picture to upright RGB, a few rows at a time.

A picture of 50 MP is in memory once as the decoder made it and once as the result. The steps
between them (16 bits to 8, transparency, CMYK, turning) work on a few rows at a time.
"""

from typing import Protocol

from PIL import Image

from service.inference.image.clock import Clock
from service.inference.image.orientation import TURNS, is_backwards, is_transposed

BACKGROUND = (255, 255, 255)
"""The colour behind transparent pixels, and of pixels without data."""
STEP_PIXELS = 256 * 1024
"""Pixels that are converted at once: 1 MB, which stays in the cache of a core."""


class Picture(Protocol):
    """What a decoder made."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, before the picture is turned."""
        ...

    def rows(self, top: int, bottom: int) -> Image.Image:
        """The rows from `top` to before `bottom`, in any mode that `to_rgb` takes."""
        ...


class Loaded:
    """A picture that Pillow holds.

    A decoder that scales down says how many times (`scale`) and the size in the file (`full`).
    """

    def __init__(
        self, image: Image.Image, scale: int = 1, full: tuple[int, int] | None = None
    ) -> None:
        self.image = image
        self.size = image.size
        self.scale = scale
        self.full = full or image.size

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Cut some rows out. If these are all rows, they are not copied."""
        width, height = self.size
        if (top, bottom) == (0, height):
            return self.image
        return self.image.crop((0, top, width, bottom))


class Opaque(Loaded):
    """A picture of mode RGBA whose alpha means nothing."""

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode RGB."""
        return super().rows(top, bottom).convert("RGB")


class Unpacked:
    """A picture in a buffer of RGB, RGBX or RGBA bytes."""

    def __init__(self, data: bytes, size: tuple[int, int], mode: str, raw_mode: str) -> None:
        self.size = size
        self._data = memoryview(data)
        self._mode, self._raw_mode = mode, raw_mode
        self._row_bytes = size[0] * len(raw_mode)

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode RGB or RGBA."""
        part = bytes(self._data[top * self._row_bytes : bottom * self._row_bytes])
        size = self.size[0], bottom - top
        return Image.frombuffer(self._mode, size, part, "raw", self._raw_mode, 0, 1)


def steps(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Cut the height of a picture into parts of about `STEP_PIXELS`: top and bottom of each."""
    width, height = size
    rows = max(1, STEP_PIXELS // width)
    if height <= 2 * rows:
        return [(0, height)]
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def upright_rgb(picture: Picture, orientation: int, clock: Clock) -> Image.Image:
    """Convert a picture of any mode to an upright RGB image.

    A picture that is upright RGB already is returned as it is: nothing is copied.

    Raises:
        TooLarge: the time is up.
    """
    clock.check()
    width, height = picture.size
    turn = TURNS.get(orientation)
    # Subclasses of Loaded change the pixels of their image.
    if turn is None and type(picture) is Loaded and _is_rgb(picture.image):
        return picture.image
    out: Image.Image | None = None
    for top, bottom in steps(picture.size):
        clock.check()
        part = to_rgb(picture.rows(top, bottom))
        if turn is not None:
            part = part.transpose(turn)
        if bottom - top == height:
            return part
        if out is None:
            out = Image.new("RGB", (height, width) if is_transposed(orientation) else picture.size)
        begin = height - bottom if is_backwards(orientation) else top
        out.paste(part, (begin, 0) if is_transposed(orientation) else (0, begin))
    if out is None:
        raise ValueError("the picture has no rows")
    return out


def _is_rgb(image: Image.Image) -> bool:
    return image.mode == "RGB" and not image.has_transparency_data


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits to RGB, transparency laid over white."""
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas
    return image if image.mode == "RGB" else image.convert("RGB")  # convert copies RGB, too
