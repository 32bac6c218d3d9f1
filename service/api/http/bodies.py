"""Read request bodies within the limits. Nothing is ever fetched from a URL."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from service.api.http.compression import inflate
from service.api.http.header_parameters import parse_parameters
from service.api.http.inflight import Held
from service.api.http.multipart import FormPart, split
from service.api.options import FIELDS, MAX_OPTION_CHARS
from service.errors import RequestTimeout, TooLarge, UnsupportedImage, UsageError
from service.inference.option_text import no_option
from service.number_text import whole_number

T = TypeVar("T")

LOOP_BYTES = 64 * 1024
"""Bodies up to this size are parsed on the event loop: that takes less time than another thread."""
MAX_LENGTH = 10**17


@dataclass
class Form:
    """A parsed body: the images, in order, and the other fields."""

    images: list[bytes] = field(default_factory=list[bytes])
    fields: dict[str, str] = field(default_factory=dict[str, str])


async def read_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """Read and unpack the body of a request. Its bytes count until the request is answered.

    Raises:
        TooLarge: over `max_bytes`, as sent or unpacked.
        Overloaded: over the limit on the bytes of all requests together.
        RequestTimeout: the body did not arrive within `timeout_s`.
        UsageError: it is compressed with a method that is not supported.
    """
    held: Held = request.state.held
    declared = whole_number(request.headers.get("content-length", ""), 0, MAX_LENGTH) or 0
    if declared > max_bytes:
        raise _too_large(declared, max_bytes)
    held.check(declared)
    try:
        async with asyncio.timeout(timeout_s):
            body = await _receive(request, max_bytes, held)
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {timeout_s * 1000:.0f} ms") from None
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() in ("", "identity"):
        return await beside_the_loop(len(body), lambda: bytes(body))
    packed = bytes(body)
    return await asyncio.to_thread(inflate, packed, encoding, max_bytes, held.grow)


async def _receive(request: Request, max_bytes: int, held: Held) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > max_bytes:
            raise _too_large(len(body) + len(chunk), max_bytes)
        held.grow(len(chunk))
        body += chunk
    return body


async def beside_the_loop(size_bytes: int, work: Callable[[], T]) -> T:
    """Call `work`, whose time grows with `size_bytes`: in another thread unless it is quick."""
    if size_bytes <= LOOP_BYTES:
        return work()
    return await asyncio.to_thread(work)


def _too_large(size: int, max_bytes: int) -> TooLarge:
    return TooLarge(
        f"the request has {size} bytes or more; the limit is {max_bytes} "
        "(QUINCUNX_MAX_REQUEST_BYTES)"
    )


def parse_form(
    body: bytes, content_type: str, file_field: str, *, raw: bool, max_images: int
) -> Form:
    """Parse a body: multipart with files in `file_field`, or one image as the body if `raw`.

    Raises:
        UsageError: a malformed body, a field given twice, or text where a file belongs.
        UnsupportedImage: a content type that is neither multipart nor an image.
        TooLarge: more than `max_images` images.
    """
    kind, parameters = parse_parameters(content_type)
    if kind == "multipart/form-data":
        if not (boundary := parameters.get("boundary")):
            raise UsageError("the multipart body names no boundary in its Content-Type")
        return _read_form(body, boundary.encode("latin-1", "replace"), file_field, max_images)
    if raw and (kind.startswith("image/") or kind == "application/octet-stream"):
        return Form(images=[body])
    raise UnsupportedImage(
        f"send multipart/form-data with files in the field {file_field!r}"
        f"{', or the image as the body with its image/* type' if raw else ''}, "
        f"but got {content_type[:80] or 'no Content-Type'!r}"
    )


def _read_form(body: bytes, boundary: bytes, file_field: str, max_images: int) -> Form:
    form = Form()
    for part in split(body, boundary):
        name = part.name
        if name == file_field:
            if not _is_file(part):
                raise UsageError(
                    f"the field {file_field!r} holds text, not a file; URLs are never fetched "
                    "(curl: -F image=@photo.jpg)"
                )
            if len(form.images) == max_images:
                raise TooLarge(
                    f"the request has more than {max_images} images (QUINCUNX_MAX_IMAGES)"
                )
            form.images.append(part.data)
        elif part.has_filename:
            raise UsageError(
                f"a file in the field {name[:80]!r}; send files in the field {file_field!r}"
            )
        elif name not in FIELDS:
            raise no_option(name, FIELDS)
        elif name in form.fields:
            raise UsageError(f"the field {name[:80]!r} is given twice")
        elif len(part.data) > 4 * MAX_OPTION_CHARS:
            raise UsageError(
                f"the field {name[:80]!r} has {len(part.data)} bytes; the limit is "
                f"{MAX_OPTION_CHARS} characters"
            )
        else:
            form.fields[name] = part.text()
    return form


def _is_file(part: FormPart) -> bool:
    """Whether a part is a file: by its file name, or by its type if it has no file name."""
    return part.has_filename or (
        part.content_type.startswith("image/") or part.content_type == "application/octet-stream"
    )
