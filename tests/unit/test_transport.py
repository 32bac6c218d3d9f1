"""HTTP/1.1 as clients speak it, and as some misuse it, on raw sockets."""

import asyncio

import pytest

from service.api.transport.counting import FREE_CHUNKS
from tests.support.waiting import until
from tests.support.wire import CLOSE, GET, LOOPS, post, refused, statuses, wired

pytestmark = pytest.mark.parametrize("anyio_backend", LOOPS)

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAA\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "tls": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "several": b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\n",
    "none": b"",
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 50, 400])
async def test_an_offer_to_upgrade_is_ignored(offer: str, chunked: bool, cut: int) -> None:
    """The body arrives with the head, or in other packets, and the connection goes on."""
    async with wired() as wire:
        first = post(b"x" * 200, OFFERS[offer], chunked=chunked)
        pieces = [first[i : i + cut] for i in range(0, len(first), cut)] if cut else [first]
        rest = GET + OFFERS[offer] + b"\r\n" + post(b"", OFFERS[offer]) + GET + CLOSE + b"\r\n"
        answer = await wire.say(*pieces, rest)
        assert statuses(answer) == [200] * 4
        assert [(path, size) for _, path, size in wire.seen] == [
            ("/b", 200), ("/a", 0), ("/b", 0), ("/a", 0),
        ]  # fmt: skip


async def test_a_large_body_with_an_offer_arrives_whole() -> None:
    async with wired() as wire:
        upload = post(bytes(3_000_000), OFFERS["h2c"])
        answer = await wire.say(upload + GET + CLOSE + b"\r\n")
        assert statuses(answer) == [200, 200]
        assert b"/b 3000000;" in answer


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (GET + b"X: " + b"a" * 3000 + b"\r\n\r\n", 431, "QUINCUNX_MAX_HEADER_BYTES"),
        (GET + b"X: " + b"a" * 3_000_000, 431, "QUINCUNX_MAX_HEADER_BYTES"),
        (GET + b"a" * 3_000_000, 431, "QUINCUNX_MAX_HEADER_BYTES"),
        (GET + b"X: a\r\n" * 20 + b"\r\n", 431, "more than 20 headers (QUINCUNX_MAX_HEADERS)"),
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n", 414, "QUINCUNX_MAX_HEADER_BYTES"),
        (b"GET /" + b"a" * 3_000_000, 414, "QUINCUNX_MAX_HEADER_BYTES"),
        (b"\r\n" * 3000, 431, "QUINCUNX_MAX_HEADER_BYTES"),
        (b"GET / HTTP/1.1\r\nX y\r\n\r\n", 400, "not HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "not HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not HTTP/1.1"),
        (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", 400, "not HTTP/1.1"),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "not HTTP/1.1"),
        (GET + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", 400, "not HTTP/1.1"),
        (GET + b"Content-Length: +5\r\n\r\n", 400, "not HTTP/1.1"),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "not HTTP/1.1"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "not HTTP/1.1"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 900_000, 431, "MAX_HEADER_BYTES"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 900_000, 431, "HEADER_BYTES"),
        (
            GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2 * FREE_CHUNKS,
            400,
            "1.0 bytes on average",
        ),
    ],
)
async def test_what_no_handler_sees_is_answered_all_the_same(
    request_: bytes, status: int, says: str
) -> None:
    async with wired(max_header_bytes=2000, max_headers=20) as wire:
        assert says in refused(await wire.say(request_), status)["error"]
        assert not wire.seen
        after = await wire.say(GET + CLOSE + b"\r\n")
        assert statuses(after) == [200]


async def test_the_path_of_what_is_refused_is_known_for_the_shape_of_its_answer() -> None:
    async with wired(max_header_bytes=2000) as wire:
        answer = await wire.say(b"GET /v2/models?x=1 HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n")
        assert refused(answer, 431)["path"] == "/v2/models"
        assert refused(await wire.say(b"nonsense\r\n\r\n"), 400)["path"] == ""


async def test_heads_within_the_limits_pass_in_any_packets() -> None:
    async with wired(max_header_bytes=2000, max_headers=20) as wire:
        head = GET + b"X: " + b"a" * 1900 + b"\r\n" + CLOSE + b"\r\n"
        for size in (1, 100, 5000):
            answer = await wire.say(*[head[i : i + size] for i in range(0, len(head), size)])
            assert statuses(answer) == [200]
        many = (GET + b"X: " + b"a" * 1900 + b"\r\n\r\n") * 50 + GET + CLOSE + b"\r\n"
        assert statuses(await wire.say(many)) == [200] * 51
        assert statuses(await wire.say(post(bytes(500_000)) + GET + CLOSE + b"\r\n")) == [200] * 2


async def test_trailers_are_no_headers() -> None:
    async with wired() as wire:
        chunked = (
            GET + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Api-Key: a\r\n\r\n"
        )
        assert statuses(await wire.say(chunked)) == [200]


async def test_an_answer_before_a_refusal_is_sent_first() -> None:
    async with wired() as wire:
        pending = asyncio.create_task(
            wire.say(GET.replace(b"/a", b"/wait") + b"\r\n" + GET + b"\r\nnonsense\r\n\r\n")
        )
        await until(lambda: wire.state.tasks)
        wire.go.set()
        answer = await pending
        assert statuses(answer) == [200, 200, 400]
        assert b"/wait 0;" in answer


async def test_a_body_that_turns_bad_ends_its_request() -> None:
    async with wired() as wire:
        chunked = GET + b"Transfer-Encoding: chunked\r\n\r\n"
        refused(await wire.say(chunked + b"1\r\nx\r\n", b"zz\r\n"), 400)
        await until(lambda: wire.gone == 1)
        early = await wire.say(chunked.replace(b"/a", b"/early") + b"1\r\nx\r\n", b"zz\r\n")
        assert statuses(early) in ([401], [400])


async def test_an_early_answer_is_read_by_a_client_that_goes_on_sending() -> None:
    async with wired() as wire:
        for more in (CLOSE, b""):
            upload = post(bytes(20_000_000), more, b"/early")
            answer = await wire.say(upload + (b"" if more else GET + CLOSE + b"\r\n"))
            assert statuses(answer) == [401] if more else [401, 200]


async def test_a_client_that_has_sent_all_may_close_its_half() -> None:
    async with wired() as wire:
        pending = asyncio.create_task(wire.say(GET.replace(b"/a", b"/wait") + b"\r\n", eof=True))
        await until(lambda: wire.state.tasks)
        wire.go.set()
        assert statuses(await pending) == [200]
        assert await wire.say(post(b"x" * 100)[:-1], eof=True) == b""
        await wire.until_alone()
