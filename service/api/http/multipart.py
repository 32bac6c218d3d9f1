"""Split multipart form data (RFC 7578) without copying the body.

`bytes.find` searches the boundary in windows of the body. So a hostile body costs no more time than
a normal one, and other threads can run between two windows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.api.http.header_parameters import CHARSETS, extended, parse_parameters
from service.errors import UsageError

WINDOW_BYTES = 256 * 1024
MAX_BOUNDARY_BYTES = 256
"""RFC 2046 allows 70."""
MAX_HEAD_BYTES = 8192
"""The headers of one part."""
MAX_LOOKALIKES = 1000
"""The most places in which the data of the parts may look like the boundary."""

_PART_FOLLOWS = re.compile(rb"[ \t]{0,256}\r\n")
_NOTHING_FOLLOWS = re.compile(rb"--[ \t]{0,256}(?:\r?\n|\Z)")
_CONTINUED = re.compile(rb"\r\n[ \t]+")


@dataclass(frozen=True)
class FormPart:
    """One field of a form."""

    name: str
    data: bytes
    content_type: str
    """In lower case and without parameters; empty if the part has none."""
    charset: str
    has_filename: bool

    def text(self) -> str:
        """The value of a text field.

        Raises:
            UsageError: the bytes are not text in the charset of the part.
        """
        codec = CHARSETS.get(self.charset.lower())
        if codec is None:
            raise UsageError(
                f"the field {self.name[:80]!r} must be UTF-8, but got the charset "
                f"{self.charset[:40]!r}"
            )
        try:
            return self.data.decode(codec)
        except UnicodeDecodeError:
            raise UsageError(
                f"the field {self.name[:80]!r} is not text in {self.charset}"
            ) from None


def split(body: bytes, boundary: bytes) -> Iterator[FormPart]:
    """The parts of a body, in order. Text before the first boundary and after the last is skipped.

    Raises:
        UsageError: a body that is malformed or cut short.
    """
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise UsageError(
            f"the boundary of the multipart body must have 1 to {MAX_BOUNDARY_BYTES} bytes, "
            f"but got {len(boundary)}"
        )
    lines = _Boundaries(body, boundary)
    begin = lines.first()
    while begin is not None:
        head, data_start = _head(body, begin)
        data_end, begin = lines.following(data_start)
        yield _part(head, body[data_start:data_end])


class _Boundaries:
    """The lines between the parts."""

    def __init__(self, body: bytes, boundary: bytes) -> None:
        self._body = body
        self._delimiter = b"\r\n--" + boundary
        self._lookalikes = 0

    def first(self) -> int | None:
        """Where the first part begins; None if the form has no part."""
        start = self._delimiter[2:]
        if self._body.startswith(start):
            if found := _PART_FOLLOWS.match(self._body, len(start)):
                return found.end()
            if _NOTHING_FOLLOWS.match(self._body, len(start)):
                return None
        return self.following(0)[1]

    def following(self, position: int) -> tuple[int, int | None]:
        """Where the next boundary line begins, and the part after it (None: there is none)."""
        body, delimiter = self._body, self._delimiter
        while (at := self._find(position)) >= 0:
            after = at + len(delimiter)
            if found := _PART_FOLLOWS.match(body, after):
                return at, found.end()
            if _NOTHING_FOLLOWS.match(body, after):
                return at, None
            self._lookalikes += 1
            if self._lookalikes > MAX_LOOKALIKES:
                raise UsageError(
                    "the boundary of the multipart body occurs within its parts, over "
                    f"{MAX_LOOKALIKES} times"
                )
            position = at + 2
        if body.startswith(delimiter[2:] + b"\n"):
            raise UsageError("the lines of a multipart body end in CRLF, but these end in LF")
        raise UsageError("the multipart body is cut short: its last boundary is missing")

    def _find(self, position: int) -> int:
        body, delimiter = self._body, self._delimiter
        while position < len(body):
            end = position + WINDOW_BYTES + len(delimiter)
            if (at := body.find(delimiter, position, end)) >= 0:
                return at
            position += WINDOW_BYTES
        return -1


def _head(body: bytes, begin: int) -> tuple[bytes, int]:
    """The headers of the part at `begin`, and where its data begins."""
    if body.startswith(b"\r\n", begin):
        return b"", begin + 2
    end = body.find(b"\r\n\r\n", begin, begin + MAX_HEAD_BYTES)
    if end < 0:
        raise UsageError(
            f"the multipart body is malformed: a part whose headers do not end within "
            f"{MAX_HEAD_BYTES} bytes"
        )
    return body[begin:end], end + 4


def _part(head: bytes, data: bytes) -> FormPart:
    headers: dict[str, str] = {}
    for line in _CONTINUED.sub(b" ", head).split(b"\r\n"):
        name, colon, value = line.partition(b":")
        key = name.decode("latin-1").strip().lower()
        if line and not colon:
            raise UsageError(f"the multipart body is malformed: the header {line[:80]!r}")
        if key in headers:
            raise UsageError(f"the multipart body is malformed: {key[:80]!r} twice in one part")
        headers[key] = value.decode("utf-8", "replace").strip()
    coding = headers.get("content-transfer-encoding", "binary").lower()
    if coding not in ("binary", "8bit", "7bit"):
        raise UsageError(
            f"a part has the Content-Transfer-Encoding {coding[:40]!r}; send form data "
            "without an encoding (RFC 7578)"
        )
    _, disposition = parse_parameters(headers.get("content-disposition", ""))
    kind, parameters = parse_parameters(headers.get("content-type", ""))
    name = disposition.get("name", extended(disposition.get("name*", "")))
    if not name:
        raise UsageError("a part of the multipart body has no name in its Content-Disposition")
    return FormPart(
        name=name,
        data=data,
        content_type=kind,
        charset=parameters.get("charset", "utf-8"),
        # filename, filename* (RFC 5987), filename*0 and filename*0* (RFC 2231)
        has_filename=any(key.split("*")[0] == "filename" for key in disposition),
    )
