"""One image of a source: where it is, what is known of its label, how its bytes are had."""

from dataclasses import dataclass
from typing import NamedTuple

from service.scoring.files import read_bytes


class Position(NamedTuple):
    """A place in the order of a run: the source, counted after expansion, and the image in it."""

    source: int
    image: int


@dataclass(frozen=True, slots=True)
class Item:
    """An image that a source names: `data` where the source had to read it, else `path` is read.

    `error` is set where the source itself broke off: the item stands for what could not be read.
    """

    path: str
    data: bytes | None = None
    label: str | None = None
    """The true label as the source says it; "" where a label column has none, None where there
    is no such column, so that the folder's name counts."""
    error: str | None = None
    may_be_caption: bool = False
    """`label` is text that need not be a label: it counts only where the model has such a class."""
    stamp: str | None = None
    """The stamp of the archive or table that `data` comes from: `service.scoring.resume.stamps`."""

    @property
    def embedded(self) -> bool:
        """Whether the source's own file holds the image, and not a file that `path` names."""
        return self.data is not None or self.error is not None

    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            OSError: the file cannot be read.
            TooLarge: it is longer than any image should be.
        """
        return read_bytes(self.path) if self.data is None else self.data
