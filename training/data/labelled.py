"""Labelled images of a data set, and what was found beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

from service.listing.skipped import Skipped
from training.data.item import Item


@dataclass(frozen=True)
class Labelled(Sequence[Item]):
    """Labelled images, in order."""

    items: tuple[Item, ...]
    skipped: Skipped = field(default_factory=Skipped)
    """Files that are not images, or not of a format that is decoded."""
    notes: tuple[str, ...] = ()
    """What a person should know about the data."""

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, at: int | slice) -> Item | tuple[Item, ...]:
        return self.items[at]

    def __len__(self) -> int:
        return len(self.items)

    def lines(self) -> list[str]:
        """The notes and the skipped files, for people."""
        return [*self.notes, *self.skipped.lines()]
