"""Request bodies: bounded before they are held, never fetched from anywhere else."""

import asyncio
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.api.compression import inflate
from service.errors import TooLarge, UnsupportedImage, UsageError

MAX_PARTS = 1000


@dataclass
class Form:
    """A parsed body: the images, in order, and the other fields."""

    images: list[bytes] = field(default_factory=list[bytes])
    fields: dict[str, str] = field(default_factory=dict[str, str])


async def read_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """Read the body, giving up as soon as it is known to be too long or too late; unpack it.

    Raises:
        TooLarge: over `max_bytes`, as it was sent or unpacked.
        UsageError: not here within `timeout_s`, or packed in a way that is not read here.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(int(declared), max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            body = await _receive(request, max_bytes)
    except TimeoutError:
        raise UsageError(f"the body did not arrive within {timeout_s * 1000:.0f} ms") from None
    encoding = request.headers.get("content-encoding")
    if encoding is None:
        return body
    return await asyncio.to_thread(inflate, body, encoding, max_bytes)


async def _receive(request: Request, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(size: int, max_bytes: int) -> TooLarge:
    return TooLarge(
        f"the request has {size} bytes or more; the limit is {max_bytes} "
        "(QUINCUNX_MAX_REQUEST_BYTES)"
    )


def parse_form(body: bytes, content_type: str, file_field: str, *, raw: bool) -> Form:
    """Take a body apart: multipart with files in `file_field`, or one image as it is where `raw`.

    Raises:
        UsageError: a malformed body, a field given twice, or text where a file belongs.
        UnsupportedImage: a content type that is neither multipart nor an image.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise UsageError("the multipart body names no boundary in its Content-Type")
        return _sort(_parts(body, boundary), file_field)
    if raw and (kind.startswith(b"image/") or kind == b"application/octet-stream"):
        return Form(images=[body])
    raise UnsupportedImage(
        f"send multipart/form-data with files in the field {file_field!r}"
        f"{', or the image as the body with its image/* type' if raw else ''}, "
        f"but got {content_type[:80] or 'no Content-Type'!r}"
    )


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    data: bytearray = field(default_factory=bytearray)


def _parts(body: bytes, boundary: bytes) -> list[_Part]:
    parts: list[_Part] = []
    name, value = bytearray(), bytearray()
    ended = False

    def begin() -> None:
        if len(parts) >= MAX_PARTS:
            raise UsageError(f"the multipart body has more than {MAX_PARTS} parts")
        parts.append(_Part())

    def header_end() -> None:
        parts[-1].headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_header_field": lambda data, start, stop: name.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
            "on_header_end": header_end,
            "on_part_data": lambda data, start, stop: parts[-1].data.extend(data[start:stop]),
            "on_end": end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise UsageError(f"the multipart body is malformed: {error}") from error
    if not ended:
        raise UsageError("the multipart body is cut short: its last boundary is missing")
    return parts


def _sort(parts: list[_Part], file_field: str) -> Form:
    form = Form()
    for part in parts:
        _, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        is_file = b"filename" in options
        if name == file_field and is_file:
            form.images.append(bytes(part.data))
        elif name == file_field:
            raise UsageError(
                f"the field {file_field!r} holds text, not a file; URLs are never fetched "
                "(curl: -F image=@photo.jpg)"
            )
        elif is_file:
            raise UsageError(f"a file in the field {name[:80]!r}; files belong in {file_field!r}")
        elif name in form.fields:
            raise UsageError(f"the field {name[:80]!r} is given twice")
        else:
            form.fields[name] = part.data.decode("utf-8", "replace")
    return form
