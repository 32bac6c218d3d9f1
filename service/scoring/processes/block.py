"""Memory that two processes share, for the arrays that they exchange."""

import mmap
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import OutOfResources
from service.scoring.files import MACHINE_FAULTS

ALIGNMENT = 64
GRAIN_BYTES = 1 << 20


class Place(NamedTuple):
    """Where an array lies in a block."""

    start: int
    shape: tuple[int, ...]
    kind: str
    """The type of its elements, as NumPy writes it."""


class SharedBlock:
    """A block that grows. One process writes at a time; the protocol between them says which.

    The memory is an anonymous file, so no folder, such as a small /dev/shm, limits its size.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> "SharedBlock":
        """A new block, empty.

        Raises:
            OSError: no file can be opened.
        """
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("quincunx-score"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def write(self, arrays: Sequence[NDArray[Any]]) -> list[Place]:
        """Copy arrays into the block, over what was there.

        Raises:
            OutOfResources: there is no memory for them.
        """
        places: list[Place] = []
        end = 0
        for array in arrays:
            places.append(Place(end, array.shape, array.dtype.str))
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self._make_room(end)
        for place, array in zip(places, arrays, strict=True):
            self.read(place)[...] = array
        return places

    def read(self, place: Place) -> NDArray[Any]:
        """The array at `place`, without a copy: valid until the block is written again.

        Raises:
            OutOfResources: this process has no room for the block.
        """
        kind = np.dtype(place.kind)
        count = int(np.prod(place.shape, dtype=np.int64))
        self._see(place.start + count * kind.itemsize)
        flat = np.frombuffer(self._map or b"", kind, count, place.start)
        return flat.reshape(place.shape)

    def close(self) -> None:
        """Give the memory back. Arrays that were read keep their part of it."""
        self._map = None
        os.close(self.fd)

    def _make_room(self, size: int) -> None:
        present = os.fstat(self.fd).st_size
        if size > present:
            size = -(-size // GRAIN_BYTES) * GRAIN_BYTES
            with _naming_what_ran_out(size):
                if hasattr(os, "posix_fallocate"):  # else a lack of memory would kill the process
                    os.posix_fallocate(self.fd, 0, size)
                else:
                    os.ftruncate(self.fd, size)
        self._see(size)

    def _see(self, size: int) -> None:
        if self._map is None or len(self._map) < size:
            with _naming_what_ran_out(size):
                self._map = mmap.mmap(self.fd, 0)


@contextmanager
def _naming_what_ran_out(size: int) -> Generator[None]:
    try:
        yield
    except OSError as error:
        help_ = MACHINE_FAULTS.get(error.errno or 0, "")
        raise OutOfResources(
            f"{size} bytes cannot be shared with a process that decodes: "
            f"{error.strerror or error}{help_}; or use fewer (--decode-processes)"
        ) from error
