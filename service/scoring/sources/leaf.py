"""What every source comes down to: leaves, each an ordered, repeatable stream of items."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from service.listing.skipped import Skipped
from service.scoring.item import Item


@dataclass(frozen=True)
class Columns:
    """Which columns of a list or table mean what; None looks for the usual names."""

    path: str | None = None
    image: str | None = None
    label: str | None = None
    root: str | None = None
    """What relative paths in a list are relative to; None: the folder of the list."""
    separator: str | None = None
    """What separates the cells of a CSV; None: told from its header."""


class Leaf(Protocol):
    """One folder, list, table or archive. Picklable, so that a cluster can send it along."""

    @property
    def name(self) -> str:
        """What the user called it."""
        ...

    def check(self) -> None:
        """Raise UsageError now for what would fail later: a file or column that is not there."""
        ...

    def items(self, skip: int = 0) -> Iterator[Item]:
        """The items after the first `skip`, in an order that is the same every time."""
        ...

    def count(self) -> int | None:
        """How many items there are, where that is cheap to know."""
        ...


@runtime_checkable
class Sieve(Protocol):
    """A leaf that may hold other files beside images: a folder, a glob or an archive."""

    def sifted(self, skip: int, skipped: Skipped) -> Iterator[Item]:
        """As `items`; every file that is passed over is counted in `skipped`.

        The count is complete when the iterator is exhausted, also where `skip` is not 0.
        """
        ...


def sifted(leaf: Leaf, skip: int, skipped: Skipped) -> Iterator[Item]:
    """The items of any leaf; `skipped` counts the files that a `Sieve` passes over."""
    return leaf.sifted(skip, skipped) if isinstance(leaf, Sieve) else leaf.items(skip)


@runtime_checkable
class KnowsLabels(Protocol):
    """A leaf that can name the true labels without reading the images."""

    def true_labels(self) -> Iterator[str]:
        """The labels of the rows in the label column that was asked for, repeated as they are."""
        ...
