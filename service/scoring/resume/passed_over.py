"""The skipped files of a run's sources, stored so that a killed run continues with the counts."""

import os
import threading
from collections.abc import Sequence

from service.listing.skipped import Skipped
from service.scoring.own_files import OwnFiles
from service.scoring.sources import ImageSource, Tar
from service.scoring.sources.source import Sieve


class PassedOver:
    """Counts of skipped files, source by source.

    If a source was read to its end, its count is final, and the next part of the journal stores it.
    If a source was read in part, a continued run reads it from its beginning and counts it then.
    """

    def __init__(self, own: OwnFiles | None = None) -> None:
        self.own = own or OwnFiles()
        """Files that the run itself writes: not counted."""
        self._settled = Skipped()
        self._read: dict[int, Skipped] = {}
        self._lock = threading.Lock()  # one thread reads the sources, another settles

    def ignore(self, *paths: os.PathLike[str] | str) -> None:
        """Do not count these paths or their contents, because the run itself writes them."""
        self.own = OwnFiles(self.own.paths | OwnFiles.of(paths).paths)

    def of_one_source(self) -> Skipped:
        """An empty count, for the reader of a source."""
        return Skipped(ignored=self.own)

    def read_to_the_end(self, source: int, skipped: Skipped) -> None:
        """Take the count of a source."""
        if skipped.groups:
            with self._lock:
                self._read[source] = skipped

    def settle(self, end: int) -> Skipped:
        """The count of all sources before `end`, each of which was read to its end."""
        with self._lock:
            for source in sorted(number for number in self._read if number < end):
                self._settled.extend(self._read.pop(source))
        return self._settled

    def go_on_from(self, settled: Skipped) -> None:
        """Continue with the final counts of an earlier run."""
        self._settled = settled

    def total(self) -> Skipped:
        """The count of every source that was read to its end."""
        total = Skipped()
        with self._lock:
            for skipped in (self._settled, *(self._read[source] for source in sorted(self._read))):
                total.extend(skipped)
        return total


def counted_again(sources: Sequence[ImageSource], was: Skipped, own: OwnFiles) -> Skipped:
    """The files that the sources of a finished run skip now. `was` is what they skipped then.

    A tar would have to be read completely, so if there is one, `was` is returned.
    """
    if any(isinstance(source, Tar) for source in sources):
        return was
    now = Skipped(ignored=own)
    for source in sources:
        if isinstance(source, Sieve):
            for _ in source.sifted(0, now):
                pass
    return now
