"""The fingerprint of a run's images: for each source, the number and the identity of its images.

It is stored in the metadata of a Parquet or Arrow result. Later the same command compares it with
the sources, to find out whether their images are still the same.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from service.scoring.result.parts import Recorded
from service.scoring.resume.trace import Trace

MOST_SOURCES = 20_000
"""Above this many, one print stands for all sources: the metadata would grow too large."""
DIGITS = 32

Kind = Literal["file", "images", "mixed"]
"""Whose stamps are kept: of the archive or table itself, or of its image files. mixed: none."""


class Print(NamedTuple):
    """The fingerprint of one source."""

    images: int
    kind: Kind
    stamps: str | None
    """A digest of names, labels and stamps: to compare without reading. None: there are none."""
    content: str
    """A digest of names, labels and the images' bytes."""


class Digest:
    """Adds up the images of one source."""

    def __init__(self) -> None:
        self._images = 0
        self._names = hashlib.sha256()
        self._content = hashlib.sha256()
        self._of_files: set[str | None] = set()
        self._separate = 0
        self._stampless = False

    def add(self, path: str, trace: Trace) -> None:
        """Add the next image; `path` is as the result shows it."""
        about = repr((path, trace.given)).encode()
        self._images += 1
        self._content.update(about + trace.content)
        self._names.update(about + repr(trace.stamp).encode())
        self._stampless |= trace.stamp is None
        if trace.embedded:
            self._of_files.add(trace.stamp)
        else:
            self._separate += 1

    def print(self) -> Print:
        """The sum so far."""
        content = self._content.hexdigest()[:DIGITS]
        if self._separate == self._images:
            stamps = None if self._stampless else self._names.hexdigest()[:DIGITS]
            return Print(self._images, "images", stamps, content)
        if self._separate == 0 and len(self._of_files) == 1:
            (stamp,) = self._of_files
            return Print(self._images, "file", stamp and file_stamps(stamp), content)
        return Print(self._images, "mixed", None, content)


def file_stamps(stamp: str) -> str:
    """`Print.stamps` of a source that is one file."""
    return hashlib.sha256(stamp.encode()).hexdigest()[:DIGITS]


class Fingerprint:
    """Adds up the rows of a run, in order."""

    def __init__(self, sources: int) -> None:
        self._together = sources > MOST_SOURCES
        self._digests = [Digest() for _ in range(1 if self._together else sources)]

    def add(self, records: Iterable[Recorded]) -> None:
        """Add the next rows."""
        for record in records:
            at = 0 if self._together else record.source
            self._digests[at].add(record.path, record.trace)

    def as_list(self) -> list[list[Any]]:
        """The prints of all sources, for JSON."""
        return [list(digest.print()) for digest in self._digests]


def prints(of: list[list[Any]]) -> list[Print]:
    """What `Fingerprint.as_list` wrote.

    Raises:
        TypeError: it is of another form.
    """
    return [Print(*one) for one in of]
