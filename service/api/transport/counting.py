"""Limits on the parts of a request outside its body: path, headers, chunks."""

from typing import NoReturn

from service.api.transport.connections import Limits
from service.errors import HeadersTooLarge, Overloaded, QuincunxError, TargetTooLong, UsageError

FREE_CHUNKS = 10_000
MAX_WAITING = 64
"""Requests of one connection that wait for the answers before theirs (HTTP pipelining). A packet
may hold thousands of heads, and the event loop would take them apart all at once."""
LEAST_CHUNK_BYTES = 16
"""After `FREE_CHUNKS`, the chunks of a body must have this many bytes on average."""


class Counting:
    """Counts the bytes of a head and the chunks of a body. Over a limit it raises an error."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._head_bytes = self._headers = self._chunks = self._body_bytes = 0
        self.error: QuincunxError | None = None
        """The error that was raised."""

    def target(self, size: int) -> None:
        """Count a piece of the path and query.

        Raises:
            TargetTooLong: over the limit.
        """
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            self._end(
                TargetTooLong(
                    f"the path and query have {self._head_bytes} bytes or more; the limit is "
                    f"{self._limits.max_header_bytes} (QUINCUNX_MAX_HEADER_BYTES)"
                )
            )

    def header(self, name: bytes, value: bytes) -> None:
        """Count a header.

        Raises:
            HeadersTooLarge: too many of them, or of their bytes.
        """
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        self._headers += 1
        if self._headers > self._limits.max_headers:
            self._end(
                HeadersTooLarge(
                    f"the request has more than {self._limits.max_headers} headers "
                    "(QUINCUNX_MAX_HEADERS)"
                )
            )
        self.raw(self._head_bytes)

    def raw(self, size: int) -> None:
        """Check `size` bytes that are a head, or a trailer, or the extension of a chunk.

        Raises:
            HeadersTooLarge: too many bytes.
        """
        if size > self._limits.max_header_bytes:
            self._end(
                HeadersTooLarge(
                    f"the headers have {size} bytes or more; the limit is "
                    f"{self._limits.max_header_bytes} (QUINCUNX_MAX_HEADER_BYTES)"
                )
            )

    def waiting(self, requests: int) -> None:
        """Check how many requests of the connection wait.

        Raises:
            Overloaded: too many.
        """
        if requests > MAX_WAITING:
            self._end(
                Overloaded(
                    f"{requests} requests of this connection wait for their answers; the limit is "
                    f"{MAX_WAITING}: send the next one after an answer",
                    retry_after_s=1,
                )
            )

    def chunk(self) -> None:
        """Count a chunk of a body.

        Raises:
            UsageError: the chunks are so small that parsing them is most of the work.
        """
        self._chunks += 1
        if self._chunks > FREE_CHUNKS + self._body_bytes // LEAST_CHUNK_BYTES:
            self._end(
                UsageError(
                    f"the body comes in {self._chunks} chunks of "
                    f"{self._body_bytes / self._chunks:.1f} bytes on average; the least is "
                    f"{LEAST_CHUNK_BYTES}"
                )
            )

    def body(self, size: int) -> None:
        """Count a piece of a body."""
        self._body_bytes += size

    def _end(self, error: QuincunxError) -> NoReturn:
        self.error = error
        raise error
