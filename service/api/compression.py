"""Compressed bodies: unpacked within the limit on bytes, packed where a client asks for it."""

import gzip
import zlib
from typing import Literal

from service.errors import TooLarge, UsageError

Coding = Literal["gzip", "deflate"]

GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
LEAST_BYTES = 500
"""Below this an answer does not get smaller by much."""
FAST = 1


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Unpack a body with this `Content-Encoding`, never more than `max_bytes` of it.

    Raises:
        UsageError: a coding that is not read here, or a stream that is broken or cut short.
        TooLarge: over `max_bytes`, known before they are held.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise UsageError(f"Content-Encoding must be gzip or deflate, but got {encoding[:40]!r}")
    reader = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise UsageError(f"the {coding} body is broken: {error}") from error
    if len(plain) > max_bytes:
        raise TooLarge(
            f"the {coding} body unpacks to more than {max_bytes} bytes (QUINCUNX_MAX_REQUEST_BYTES)"
        )
    if not reader.eof or reader.unused_data:
        wrong = "goes on after its end" if reader.eof else "is cut short"
        raise UsageError(f"the {coding} body {wrong}")
    return plain


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
    """Pack a body: `deflate` is the zlib format, as HTTP has it."""
    if coding == "gzip":
        return gzip.compress(body, FAST, mtime=0)
    return zlib.compress(body, FAST)
