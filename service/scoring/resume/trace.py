"""The origin of a row, so that a later run can tell whether its source is still the same."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from service.console.text import storable
from service.errors import ClientError, DataError
from service.listing.skipped import Skipped
from service.scoring.files import blaming_the_machine
from service.scoring.item import Item
from service.scoring.resume.stamps import read_stamped, same_bytes, stamp
from service.scoring.sources.source import ImageSource, sifted


@dataclass(frozen=True, slots=True)
class Trace:
    """The source of one image's bytes, and their digest."""

    content: bytes
    """SHA-256 of the image file, or of the error's text if it could not be read."""
    stamp: str | None
    """The stamp of the image file, or of the archive or table that holds the image."""
    embedded: bool
    """Whether an archive or table holds the image."""
    given: str | None
    """The true label as the source gives it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image file in memory, or the reason why it could not be read."""

    trace: Trace
    data: bytes = b""
    error: str | None = None


def items_of(source: ImageSource, skip: int = 0, skipped: Skipped | None = None) -> Iterator[Item]:
    """The items of a source. Items inside the source's own file have the stamp of that file.

    `skipped` counts the files that a folder or an archive holds beside its images.

    Raises:
        DataError: the file changed while it was read, so its items may be of two versions.
    """
    before = stamp(source.name)
    for item in sifted(source, skip, Skipped() if skipped is None else skipped):
        yield replace(item, stamp=before) if item.embedded else item
    after = stamp(source.name)
    if after is not None and not same_bytes(before, after):
        raise DataError(
            f"{source.name} changed while it was read: some images may be of the old file and some "
            "of the new one. Start again when it is complete (--restart)"
        )


def load(item: Item) -> Loaded:
    """Read an item's bytes. A file that cannot be read is part of the result, not an exception.

    Raises:
        OutOfResources: this machine can open no file now.
    """
    error, data, stamp = item.error, item.data, item.stamp
    if error is None and data is None:
        try:
            with blaming_the_machine(item.path):
                data, stamp = read_stamped(item.path)
        except (ClientError, OSError, ValueError) as refused:  # ValueError: a name with a NUL
            error = told(refused)
    digest = hashlib.sha256(
        data if error is None and data is not None else storable(f"{error}").encode()
    )
    given = None if item.label is None else storable(item.label)
    trace = Trace(digest.digest(), stamp, item.embedded, given)
    return Loaded(trace, data or b"", error)


def told(error: Exception) -> str:
    """The text of an error in a row: its kind and its reason."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {reason}"
