"""Image sources: what a user names becomes one or more ordered, repeatable streams of items."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from service.listing.skipped import Skipped
from service.scoring.item import Item


@dataclass(frozen=True)
class Columns:
    """The roles of columns in a list or table. None means: look for the usual names."""

    path: str | None = None
    image: str | None = None
    label: str | None = None
    root: str | None = None
    """The folder of relative paths in a list. None: the list's own folder."""
    separator: str | None = None
    """The separator of cells in a CSV. None: recognised from its header."""


class ImageSource(Protocol):
    """One folder, list, table or archive. Picklable, so that a cluster can send it to nodes."""

    @property
    def name(self) -> str:
        """The name that the user gave."""
        ...

    def check(self) -> None:
        """Raise UsageError now for what would fail later, such as a missing file or column."""
        ...

    def items(self, skip: int = 0) -> Iterator[Item]:
        """The items after the first `skip`, in an order that is the same every time."""
        ...

    def count(self) -> int | None:
        """The number of items, if it is cheap to know."""
        ...


@runtime_checkable
class Sieve(Protocol):
    """A source that may also hold files that are not images: a folder, a glob or an archive."""

    def sifted(self, skip: int, skipped: Skipped) -> Iterator[Item]:
        """Like `items`, and every skipped file is counted in `skipped`.

        The count is complete when the iterator is exhausted, even if `skip` is not 0.
        """
        ...


def sifted(source: ImageSource, skip: int, skipped: Skipped) -> Iterator[Item]:
    """The items of any source. `skipped` counts the files that a `Sieve` skips."""
    return source.sifted(skip, skipped) if isinstance(source, Sieve) else source.items(skip)


@runtime_checkable
class KnowsLabels(Protocol):
    """A source that can name the true labels without reading the images."""

    def true_labels(self) -> Iterator[str]:
        """The labels of the rows in the label column that was asked for, repeated as they are."""
        ...
