"""Make a source repeatable that can be read only once."""

import json
import tempfile
import weakref
from collections.abc import Iterator
from itertools import islice
from typing import IO

from service.errors import OutputError
from service.scoring.item import Item
from service.scoring.sources.source import ImageSource

MEMORY_BYTES = 16 * 1024 * 1024


class Replayed:
    """Remembers the items of standard input, so that they can be compared and then scored.

    The items are paths; up to `MEMORY_BYTES` of them stay in memory, more in a temporary file.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._live: Iterator[Item] | None = None
        self._kept: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
        weakref.finalize(self, self._kept.close)
        self._recording = True

    @property
    def name(self) -> str:
        return self._source.name

    def check(self) -> None:
        self._source.check()

    def count(self) -> int | None:
        return None

    def stop_recording(self) -> None:
        """Keep no more items, because the next pass is the last."""
        self._recording = False

    def items(self, skip: int = 0) -> Iterator[Item]:
        """The items that were read before, and then the new ones.

        Raises:
            OutputError: the temporary file cannot be written.
        """
        return islice(self._items(), skip, None)

    def _items(self) -> Iterator[Item]:
        at = 0
        while True:
            self._kept.seek(at)
            line = self._kept.readline()
            if not line:
                break
            at += len(line)
            yield Item(**json.loads(line))
        if self._live is None:
            self._live = self._source.items()
        for item in self._live:
            if self._recording:
                self._keep(item)
            yield item

    def _keep(self, item: Item) -> None:
        kept = {"path": item.path, "label": item.label, "error": item.error}
        line = json.dumps(kept).encode() + b"\n"
        try:
            self._kept.seek(0, 2)
            self._kept.write(line)
        except OSError as error:
            raise OutputError(
                "standard input cannot be remembered in the temporary folder (TMPDIR): "
                f"{error.strerror or error}"
            ) from error
