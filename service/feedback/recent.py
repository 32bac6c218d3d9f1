"""The answers that the server gave last, found by the id of their request.

Each worker writes a ring of a fixed number of records into its own part of the shared memory, and
reads the rings of all workers. So feedback may reach another worker than the one that answered. No
lock is needed: each ring has one writer, and a reader checks a record with its checksum.
"""

import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from service.feedback.given import GivenAnswer

logger = logging.getLogger("quincunx.feedback")

KEY_BYTES = 16
RECORD_BYTES = 384
_COUNT = struct.Struct("Q")
_HEAD = struct.Struct("II")
"""Checksum of the key and the facts, and the length of the facts."""

Read = Callable[[int, int], bytes]
"""(start, length) -> the bytes of one ring."""


def ring_bytes(answers: int) -> int:
    """The size of a ring for this number of answers."""
    return _COUNT.size + answers * (KEY_BYTES + RECORD_BYTES)


@dataclass(frozen=True)
class Layout:
    """Where the parts of a ring are: a counter, then all keys, then all records."""

    answers: int

    def key_at(self, index: int) -> int:
        return _COUNT.size + index * KEY_BYTES

    def record_at(self, index: int) -> int:
        return _COUNT.size + self.answers * KEY_BYTES + index * RECORD_BYTES


class RecentAnswers:
    """The ring of this worker, and the search in the rings of all workers."""

    def __init__(
        self,
        answers: int,
        own: memoryview | None = None,
        rings: Callable[[], Iterator[Read]] | None = None,
    ) -> None:
        """`own`: `ring_bytes(answers)` of shared memory, and `rings` reads those of all workers.

        Without them the answers of this process alone are remembered.
        """
        self._layout = Layout(answers)
        self._own = memoryview(bytearray(ring_bytes(answers))) if own is None else own
        self._rings = rings or self._own_ring
        self._told = False

    def _own_ring(self) -> Iterator[Read]:
        yield lambda start, length: bytes(self._own[start : start + length])

    def remember(self, request_id: str, image: int, answer: GivenAnswer) -> None:
        """Keep an answer in place of the oldest one. Call from one thread."""
        key, facts = _key(request_id, image), answer.packed()
        if len(facts) > RECORD_BYTES - _HEAD.size:
            if not self._told:
                logger.warning("answers with very long labels are not remembered for feedback")
            self._told = True
            return
        (count,) = _COUNT.unpack_from(self._own)
        index = count % self._layout.answers
        key_at, record_at = self._layout.key_at(index), self._layout.record_at(index)
        self._own[key_at : key_at + KEY_BYTES] = bytes(KEY_BYTES)  # nobody finds half a record
        record = _HEAD.pack(zlib.crc32(key + facts), len(facts)) + facts
        self._own[record_at : record_at + len(record)] = record
        self._own[key_at : key_at + KEY_BYTES] = key
        _COUNT.pack_into(self._own, 0, count + 1)

    def find(self, request_id: str, image: int) -> GivenAnswer | None:
        """The answer of a request; the latest one if several had this id. May be called anywhere.

        None: no worker remembers it.
        """
        key = _key(request_id, image)
        found = [answer for read in self._rings() for answer in self._found(read, key)]
        return max(found, key=lambda answer: answer.answered_s or 0.0, default=None)

    def _found(self, read: Read, key: bytes) -> Iterator[GivenAnswer]:
        start, count = self._layout.key_at(0), self._layout.answers
        keys = np.frombuffer(read(start, count * KEY_BYTES), np.dtype((np.void, KEY_BYTES)))
        for index in np.flatnonzero(keys == np.void(key)).tolist():
            record = read(self._layout.record_at(index), RECORD_BYTES)
            checksum, length = _HEAD.unpack_from(record)
            facts = record[_HEAD.size : _HEAD.size + length]
            if zlib.crc32(key + facts) == checksum:  # not overwritten meanwhile
                yield GivenAnswer.unpacked(facts)


def _key(request_id: str, image: int) -> bytes:
    return blake2b(f"{request_id}\0{image}".encode(), digest_size=KEY_BYTES).digest()
