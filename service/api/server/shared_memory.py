"""Memory that the workers of one server share: one slot for each, and a signal to reload.

The memory is an anonymous file that the supervisor opens and the workers inherit. The file has no
name in any folder, so no cleaner can delete it. Its pages are allocated before they are used, so a
full disk cannot stop a worker. `bentoml serve` does not use our supervisor: there the memory is a
file in BentoML's own folder for metrics.

A worker locks its slot as long as it lives. The system releases the lock of a dead process.

If users may send feedback, each slot is followed by room for the answers that its worker gave last.
"""

import os
import struct
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from mmap import PAGESIZE, mmap
from pathlib import Path
from typing import Literal, cast

if sys.platform != "win32":
    import fcntl

HEADER_BYTES = 4096
_ROOM_AT = 16
_ROOM = struct.Struct("Q")
"""Bytes after each slot, which the process that makes the memory chooses."""
SLOT_BYTES = 512 * 1024
SPARE_SLOTS = 2
"""Slots beyond one for each worker: while a process tests a lock, the slot seems taken."""
FILE = "quincunx-shared"
FILE_SLOTS = 64

_REASON_AT = 64
_REASON_BYTES = 1024
DATA_AT = 2048
"""Offset of the part of a slot that its worker may use freely."""

State = Literal["none", "starting", "ready"]
_STATES: tuple[State, ...] = ("none", "starting", "ready")
_STATUS = struct.Struct("QQdQQQ")
"""Process id, state, last sign of life, exit code, length of the reason, open connections."""
SILENT_S = 2.0
"""If the event loop of a worker has not run for this long, it takes no connections."""


@dataclass(frozen=True)
class Status:
    """The state that a worker reports."""

    pid: int
    state: State
    beat_s: float
    """When its event loop last ran, on the clock of `time.monotonic`."""
    exit_code: int
    reason: str
    """Why it cannot start; empty if it can."""


class Shared:
    """The shared memory, seen from one process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        (self.room_bytes,) = cast(tuple[int], _ROOM.unpack(os.pread(fd, _ROOM.size, _ROOM_AT)))
        self._stride = SLOT_BYTES + self.room_bytes
        self.slots = (os.fstat(fd).st_size - HEADER_BYTES) // self._stride
        self._own = -1

    @classmethod
    def create(cls, workers: int, room_bytes: int = 0) -> "Shared":
        """Memory for a server with `workers` workers, with `room_bytes` after each slot.

        Raises:
            OSError: the system has no memory, or no folder for temporary files, for it.
        """
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("quincunx")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        return cls._sized(fd, workers + SPARE_SLOTS, room_bytes)

    @classmethod
    def in_folder(cls, folder: Path, room_bytes: int = 0) -> "Shared":
        """The memory of the server whose workers share `folder`.

        Raises:
            OSError: the file cannot be opened or made.
        """
        fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return cls._sized(fd, FILE_SLOTS, room_bytes)

    @classmethod
    def _sized(cls, fd: int, slots: int, room_bytes: int) -> "Shared":
        room_bytes += -room_bytes % PAGESIZE
        os.ftruncate(fd, HEADER_BYTES + slots * (SLOT_BYTES + room_bytes))
        _allocate(fd, 0, HEADER_BYTES)
        os.pwrite(fd, _ROOM.pack(room_bytes), _ROOM_AT)
        return cls(fd)

    @property
    def token(self) -> bytes:
        """A token that changes with each announced reload."""
        return os.pread(self.fd, 16, 0)

    def announce(self) -> bytes:
        """Tell all workers to load the packages on the disk; returns the new token."""
        token = uuid.uuid4().bytes
        os.pwrite(self.fd, token, 0)
        return token

    def claim(self) -> "Slot":
        """Take a free slot, with the pages for all of it.

        Raises:
            OSError: no slot is free, or there is no memory for it.
        """
        for index in range(self.slots):
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, index)
            except (BlockingIOError, PermissionError):
                continue
            _allocate(self.fd, self._start(index), self._stride)
            self._own = index
            return Slot(self.fd, self._start(index), self._stride)
        raise OSError(f"all {self.slots} slots of the shared memory are taken")

    def alive(self, index: int) -> bool:
        """Whether the worker of a slot lives."""
        if index == self._own:
            return True
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, index)
        except (BlockingIOError, PermissionError):
            return True
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, index)
        return False

    def data(self, index: int) -> bytes:
        """A copy of the part of a slot that its worker may use freely."""
        # Read, not mapped: a missing page is then an error, and does not kill the process.
        return os.pread(self.fd, SLOT_BYTES - DATA_AT, self._start(index) + DATA_AT)

    def rooms(self) -> Iterator[Callable[[int, int], bytes]]:
        """For each slot that a worker has ever taken: (start, length) -> bytes of its room."""
        for index in range(self.slots):
            head = os.pread(self.fd, _STATUS.size, self._start(index))
            if any(head):
                yield partial(self._read_room, index)

    def _read_room(self, index: int, start: int, length: int) -> bytes:
        return os.pread(self.fd, length, self._start(index) + SLOT_BYTES + start)

    def _start(self, index: int) -> int:
        return HEADER_BYTES + index * self._stride

    def fewest_connections_of_others(self) -> int | None:
        """The smallest number of open connections of another worker that serves; None: no other."""
        alive_from = time.monotonic() - SILENT_S
        found: list[int] = []
        for index in range(self.slots):
            if index != self._own:
                head = os.pread(self.fd, _STATUS.size, self._start(index))
                values = cast(tuple[int, int, float, int, int, int], _STATUS.unpack(head))
                _, state, beat_s, _, _, connections = values
                if _STATES[state] == "ready" and beat_s >= alive_from:
                    found.append(connections)
        return min(found, default=None)

    def status(self, pid: int) -> Status | None:
        """The state of the worker with this process id; None if it has not reported yet."""
        for index in range(self.slots):
            head = os.pread(self.fd, DATA_AT, self._start(index))
            values = cast(tuple[int, int, float, int, int, int], _STATUS.unpack_from(head))
            found, state, beat_s, exit_code, length, _ = values
            if found == pid:
                reason = head[_REASON_AT : _REASON_AT + length].decode(errors="replace")
                return Status(pid, _STATES[state], beat_s, exit_code, reason)
        return None


class Slot:
    """The part of the shared memory that one worker writes."""

    def __init__(self, fd: int, start: int, length: int) -> None:
        self._map = mmap(fd, 0)
        whole = memoryview(self._map)[start : start + length]
        self._head = whole[:DATA_AT]
        self.data = whole[DATA_AT:SLOT_BYTES]
        """The data that an earlier worker left in this slot, or zeros."""
        self.room = whole[SLOT_BYTES:]
        """The same of the room after the slot."""
        _STATUS.pack_into(self._head, 0, os.getpid(), _STATES.index("starting"), 0.0, 0, 0, 0)

    def ready(self, now_s: float) -> None:
        """Report that this worker serves."""
        self.beat(now_s)
        self._head[8:16] = struct.pack("Q", _STATES.index("ready"))

    def beat(self, now_s: float) -> None:
        """Report that the event loop runs."""
        self._head[16:24] = struct.pack("d", now_s)

    def connections(self, number: int) -> None:
        """Report how many connections this worker has."""
        self._head[40:48] = struct.pack("Q", number)

    def fail(self, exit_code: int, reason: str) -> None:
        """Report why this worker cannot start."""
        text = reason.encode()[:_REASON_BYTES]
        self._head[_REASON_AT : _REASON_AT + len(text)] = text
        self._head[24:40] = struct.pack("QQ", exit_code, len(text))


def _allocate(fd: int, start: int, length: int) -> None:
    """Let the system allocate the pages now. Later it could only kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, length)
