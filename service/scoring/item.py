"""One image of a source: its place, its label if known, and how to read its bytes."""

from dataclasses import dataclass
from typing import NamedTuple

from service.scoring.files import read_bytes


class Position(NamedTuple):
    """A place in the order of a run: the source, counted after expansion, and the image in it."""

    source: int
    image: int


@dataclass(frozen=True, slots=True)
class Item:
    """An image that a source names. `data` is set if the source had to read it; else read `path`.

    `error` is set if the source itself broke off. The item then stands for the part that could not
    be read.
    """

    path: str
    data: bytes | None = None
    label: str | None = None
    """The true label as the source gives it. "" if the label column has none. None if there is no
    label column; then the folder's name counts."""
    error: str | None = None
    may_be_caption: bool = False
    """`label` is text that may not be a label. It counts only if the model has such a class."""
    stamp: str | None = None
    """The stamp of the archive or table that `data` comes from: `service.scoring.resume.stamps`."""

    @property
    def embedded(self) -> bool:
        """Whether the image is inside the source's own file, not in a file that `path` names."""
        return self.data is not None or self.error is not None

    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            OSError: the file cannot be read.
            TooLarge: it is longer than the limit for image files.
        """
        return read_bytes(self.path) if self.data is None else self.data
