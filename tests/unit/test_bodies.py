"""Bodies are read within limits, and are an image, a form with files, or refused."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from service.api.http import bodies
from service.api.http.bodies import Form, parse_form, read_body
from service.api.http.compression import Coding, deflate
from service.api.http.inflight import Held, Inflight
from service.api.http.multipart import FormPart
from service.errors import (
    Overloaded,
    RequestTimeout,
    TooLarge,
    UnsupportedImage,
    UsageError,
)
from tests.support.app import in_process
from tests.support.images import coloured, encoded

FORM = "multipart/form-data; boundary=b"
PHOTO = encoded(coloured("red"))
LIMIT_S = 60


def part(disposition: str, data: bytes = b"x", kind: str = "") -> bytes:
    type_line = f"Content-Type: {kind}\r\n" if kind else ""
    return f"--b\r\nContent-Disposition: {disposition}\r\n{type_line}\r\n".encode() + data + b"\r\n"


def parsed(*parts: bytes, kind: str = FORM) -> Form:
    body = b"".join(parts) + b"--b--\r\n"
    return parse_form(body, kind, "image", raw=True, max_images=2)


@pytest.mark.parametrize(
    ("disposition", "kind"),
    [
        ('form-data; name="image"; filename="p.jpg"', "image/jpeg"),
        ('form-data; name="image"; filename="p.jpg"', "text/plain"),
        ("form-data; name=\"image\"; filename*=utf-8''%C3%A9.jpg", ""),
        ('form-data; name="image"', "image/jpeg"),
        ('form-data; name="image"', "IMAGE/PNG; x=y"),
        ('form-data; name="image"', "application/octet-stream"),
    ],
)
def test_a_file_is_told_by_its_name_or_its_type(disposition: str, kind: str) -> None:
    assert parsed(part(disposition, b"bytes", kind)).images == [b"bytes"]


@pytest.mark.parametrize("kind", ["", "text/plain", "text/plain; charset=utf-8"])
def test_text_in_the_place_of_a_file_is_named(kind: str) -> None:
    with pytest.raises(UsageError, match="holds text, not a file; URLs are never fetched"):
        parsed(part('form-data; name="image"', b"http://127.0.0.1:1/", kind))


@pytest.mark.parametrize("kind", ["", "text/plain; charset=UTF-8", "application/octet-stream"])
def test_options_may_name_a_type(kind: str) -> None:
    assert parsed(part('form-data; name="tta"', b"dense", kind)).fields == {"tta": "dense"}


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data;boundary=b",
        'Multipart/Form-Data; charset=utf-8; Boundary="b"',
        "multipart/form-data; boundary=b; charset=utf-8",
    ],
)
def test_a_form_s_type_may_be_written_in_many_ways(kind: str) -> None:
    assert parsed(part("form-data; name=image; filename=p"), kind=kind).images == [b"x"]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([part("form-data; name=tta; filename=p")], "no file.*'tta'|a file in the field 'tta'"),
        ([part("form-data; name=file; filename=p")], "a file in the field 'file'"),
        ([part("form-data; name=ttta")], "did you mean 'tta'"),
        ([part("form-data; name=tta"), part("form-data; name=tta")], "given twice"),
        ([part("form-data; name=boxes", b"0" * 10**6)], "the field 'boxes' has 1000000 bytes"),
        ([part(f"form-data; name=a{i}") for i in range(999)], "no option 'a0'"),
    ],
)
def test_what_does_not_belong_is_named(parts: list[bytes], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parsed(*parts)


def test_images_are_counted_before_they_are_held() -> None:
    with pytest.raises(TooLarge, match=r"more than 2 images \(QUINCUNX_MAX_IMAGES\)"):
        parsed(*[part("form-data; name=image; filename=p")] * 3)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_needs_its_boundary(kind: str) -> None:
    with pytest.raises(UsageError, match="names no boundary"):
        parsed(kind=kind)


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/mixed; boundary=b", "video/mp4"])
def test_other_types_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedImage, match="send multipart/form-data"):
        parsed(kind=kind)


async def test_a_large_form_is_answered_as_a_small_one(package: Path) -> None:
    """It is parsed in another thread."""
    async with in_process(package) as running:
        for padding in (b"", b"preamble" * 20_000 + b"\r\n"):
            body = padding + part("form-data; name=image; filename*=a''b", PHOTO) + b"--b--"
            response = await running.client.post(
                "/classify", content=body, headers={"content-type": FORM}
            )
            assert response.json()["label"] == "red"


async def test_a_large_form_is_parsed_beside_the_event_loop(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nothing in it can stop other requests; a small one is quicker where it is."""
    threads: list[bool] = []
    split = bodies.split

    def noting(body: bytes, boundary: bytes) -> Iterator[FormPart]:
        threads.append(threading.current_thread() is threading.main_thread())
        return split(body, boundary)

    monkeypatch.setattr(bodies, "split", noting)
    async with in_process(package) as running:
        small = part("form-data; name=image; filename=p", PHOTO) + b"--b--"
        for body in (small, b"x" * bodies.LOOP_BYTES + b"\r\n" + small):
            for coding in ("identity", "gzip"):
                packed = gzip.compress(body) if coding == "gzip" else body
                headers = {"content-type": FORM, "content-encoding": coding}
                answer = await running.client.post("/classify", content=packed, headers=headers)
                assert answer.status_code == 200
    assert threads == [True, True, False, False]


def request(chunks: list[bytes], held: Held, **headers: str) -> Request:
    """A request whose body arrives in `chunks`; an empty list never arrives."""
    waiting = iter(chunks)

    async def receive() -> Message:
        if not chunks:
            await asyncio.Event().wait()
        chunk = next(waiting)
        return {"type": "http.request", "body": chunk, "more_body": chunk != chunks[-1]}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    made = Request({"type": "http", "headers": named}, receive)
    made.state.held = held
    return made


@pytest.fixture(name="inflight")
def _inflight() -> Inflight:
    return Inflight(max_bytes=1_000_000)


@given(chunks=st.lists(st.binary(min_size=1, max_size=40), min_size=1, unique=True))
async def test_a_body_in_any_chunks_is_read_whole_and_counted(chunks: list[bytes]) -> None:
    inflight = Inflight(max_bytes=1_000_000)
    held = Held(inflight)
    body = b"".join(chunks)
    assert await read_body(request(chunks, held), len(body), LIMIT_S) == body
    assert inflight.held_bytes == len(body)
    held.release()
    assert inflight.held_bytes == 0


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_packed_body_is_counted_packed_and_unpacked(
    inflight: Inflight, coding: Coding
) -> None:
    plain = bytes(50_000)
    packed = deflate(plain, coding)
    asked = request([packed], Held(inflight), content_encoding=coding)
    assert await read_body(asked, 60_000, LIMIT_S) == plain
    assert inflight.held_bytes == len(packed) + len(plain)


async def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read(
    inflight: Inflight,
) -> None:
    asked = request([], Held(inflight), content_length="1001")
    with pytest.raises(TooLarge, match=r"1001 bytes or more; the limit is 1000 \(QUINCUNX_MAX_R"):
        await read_body(asked, 1000, LIMIT_S)


async def test_a_body_that_grows_over_the_limit_is_refused(inflight: Inflight) -> None:
    with pytest.raises(TooLarge, match="1200 bytes or more; the limit is 1000"):
        await read_body(request([b"a" * 600, b"b" * 600], Held(inflight)), 1000, LIMIT_S)
    assert inflight.held_bytes == 600


@pytest.mark.parametrize("declared", ["900", "", "-5", "x", "9" * 30])
async def test_all_requests_together_have_a_bound(declared: str) -> None:
    """An unreadable length is not a length: then the chunks are counted."""
    inflight = Inflight(max_bytes=1000)
    inflight.add(500)
    asked = request([b"a" * 400, b"b" * 400], Held(inflight), content_length=declared)
    with pytest.raises(Overloaded, match="QUINCUNX_MAX_INFLIGHT_BYTES"):
        await read_body(asked, 10_000, LIMIT_S)
    assert inflight.held_bytes <= 1000


async def test_a_body_that_does_not_arrive_is_a_timeout(inflight: Inflight) -> None:
    with pytest.raises(RequestTimeout, match="did not arrive within 10 ms"):
        await read_body(request([], Held(inflight)), 1000, timeout_s=0.01)


async def test_a_declared_length_over_that_bound_is_refused_before_a_byte_is_read() -> None:
    inflight = Inflight(max_bytes=1000)
    inflight.add(500)
    asked = request([], Held(inflight), content_length="900")
    with pytest.raises(Overloaded, match="500 bytes of other requests are held, and 900 more"):
        await read_body(asked, 10_000, LIMIT_S)
