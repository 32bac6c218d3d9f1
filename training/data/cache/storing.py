"""How a cache keeps images: the size of the stored pixels, and how files are decoded."""

from dataclasses import dataclass
from typing import Any

import PIL

from service.inference.image.geometry import LeastSize, Size, shorter_side
from service.package.manifest import Decode

FORMAT = 1


@dataclass(frozen=True)
class ScaledLeastSize:
    """The smallest size that a file may be decoded in: `factor` times what is needed.

    It is a class because processes that decode get it by pickle.
    """

    shorter_side_px: int
    factor: int

    def __call__(self, size: Size) -> Size:
        return shorter_side(size, self.factor * self.shorter_side_px)


@dataclass(frozen=True)
class Storing:
    """Images are resized to a shorter side of `shorter_px`. Smaller images stay as they are."""

    shorter_px: int
    decode: Decode = "exact"
    decode_factor: int = 1

    def stored(self, size: Size) -> Size:
        """The size in which an image of `size` is stored. It has the same aspect ratio."""
        if min(size.height, size.width) <= self.shorter_px:
            return size
        return shorter_side(size, self.shorter_px)

    def least_size(self) -> LeastSize | None:
        """How small a file may be decoded; None: in full."""
        if self.decode == "exact":
            return None
        return ScaledLeastSize(self.shorter_px, self.decode_factor)

    def facts(self) -> dict[str, Any]:
        """The settings that change stored pixels. Entries with other settings are other entries."""
        return {
            "format": FORMAT,
            "shorter_px": self.shorter_px,
            "decode": self.decode,
            "decode_factor": None if self.decode == "exact" else self.decode_factor,
            "pillow": PIL.__version__,
        }

    def __str__(self) -> str:
        return f"shorter side {self.shorter_px} px, decode {self.decode}"
