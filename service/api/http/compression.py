"""Unpack compressed bodies within the limit on bytes; pack answers if the client asks for it."""

import gzip
import zlib
from collections.abc import Callable
from typing import Literal

from service.errors import TooLarge, UsageError

Coding = Literal["gzip", "deflate"]

GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
LEAST_BYTES = 500
"""Smaller answers are not worth packing."""
FAST = 1
STEP_BYTES = 256 * 1024
"""Bytes that one step reads, and the most that it writes. Each step is counted before the next."""


def inflate(
    body: bytes, encoding: str, max_bytes: int, grow: Callable[[int], None] = lambda _: None
) -> bytes:
    """Unpack a body with this `Content-Encoding`, never more than `max_bytes` of it.

    `grow` is called with the bytes of every step. It may raise an error to stop.

    Raises:
        UsageError: an unknown coding, or a stream that is broken or cut short.
        TooLarge: over `max_bytes`; raised before more than one further step is held.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise UsageError(f"Content-Encoding must be gzip or deflate, but got {encoding[:40]!r}")
    try:
        return _unpack(body, coding, max_bytes, grow)
    except zlib.error as error:
        raise UsageError(f"the {coding} body is broken: {error}") from error


def _unpack(body: bytes, coding: str, max_bytes: int, grow: Callable[[int], None]) -> bytes:
    reader = zlib.decompressobj(GZIP_OR_ZLIB)
    plain = bytearray()
    for start in range(0, len(body), STEP_BYTES):
        packed = body[start : start + STEP_BYTES]
        more = True
        while more and not reader.eof:
            step = reader.decompress(packed, STEP_BYTES)
            grow(len(step))
            plain += step
            if len(plain) > max_bytes:
                raise TooLarge(
                    f"the {coding} body unpacks to more than {max_bytes} bytes "
                    "(QUINCUNX_MAX_REQUEST_BYTES)"
                )
            packed = reader.unconsumed_tail
            more = bool(packed) or len(step) == STEP_BYTES
        if reader.eof:
            if reader.unused_data or start + STEP_BYTES < len(body):
                raise UsageError(f"the {coding} body goes on after its end")
            return bytes(plain)
    raise UsageError(f"the {coding} body is cut short")


def choose(accept_encoding: str) -> Coding | None:
    """The coding that a client's `Accept-Encoding` asks for; None: send the answer as it is."""
    asked: dict[str, bool] = {}
    for item in accept_encoding.lower().split(","):
        name, _, parameters = item.partition(";")
        quality = parameters.strip().removeprefix("q=")
        asked[name.strip()] = quality.strip("0.") != "" or not parameters.strip()
    if asked.get("gzip"):
        return "gzip"
    return "deflate" if asked.get("deflate") else None


def deflate(body: bytes, coding: Coding) -> bytes:
    """Pack a body. In HTTP, `deflate` means the zlib format."""
    if coding == "gzip":
        return gzip.compress(body, FAST, mtime=0)
    return zlib.compress(body, FAST)
