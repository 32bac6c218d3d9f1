"""The size of the images that a benchmark draws: one parser for every benchmark's option."""

import re
from dataclasses import dataclass

from service.errors import UsageError

MAX_SIDE_PX = 65_500
"""The longest side that a JPEG encoder accepts."""
MAX_PIXELS = 200_000_000
PATTERN = re.compile(r"([0-9]{1,6})[x×]([0-9]{1,6})", re.IGNORECASE)


@dataclass(frozen=True)
class ImageSize:
    """Width and height in pixels; as text "500×375"."""

    width_px: int
    height_px: int

    @classmethod
    def parse(cls, text: str) -> "ImageSize":
        """Read "500x375".

        Raises:
            UsageError: another form, a side of 0, or a size above the limits.
        """
        found = PATTERN.fullmatch(text)
        if not found or not int(found[1]) or not int(found[2]):
            raise UsageError(f"a size is WIDTHxHEIGHT in pixels, such as 500x375, but got {text!r}")
        size = cls(int(found[1]), int(found[2]))
        if max(size.width_px, size.height_px) > MAX_SIDE_PX:
            raise UsageError(
                f"{size} px is too large to draw; the longest side of a JPEG is {MAX_SIDE_PX} px"
            )
        if size.pixels > MAX_PIXELS:
            raise UsageError(
                f"{size} px is {size.pixels / 1e6:.0f} MP; benchmarks draw at most "
                f"{MAX_PIXELS / 1e6:.0f} MP"
            )
        return size

    @property
    def pixels(self) -> int:
        return self.width_px * self.height_px

    @property
    def in_file_names(self) -> str:
        """As in names of files: "500x375"."""
        return f"{self.width_px}x{self.height_px}"

    def __str__(self) -> str:
        return f"{self.width_px}×{self.height_px}"


STANDARD = ImageSize(500, 375)
"""What benchmarks draw without an option: a photo of the web."""
PHONE = ImageSize(4032, 3024)
"""The second standard case: a photo of a phone, 12 MP."""
