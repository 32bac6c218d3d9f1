"""HTTP/1.1 as clients speak it, and as some misuse it, on raw sockets."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from service.api.transport.counting import FREE_CHUNKS
from service.errors import ClientError
from tests.support.wire import Wire, until, wired

uvloop: Any = pytest.importorskip("uvloop")
Loop = Callable[[], asyncio.AbstractEventLoop]
Body = Callable[[Wire], Coroutine[Any, Any, None]]

CLOSE = b"Connection: close\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"
OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAA\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "tls": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "several": b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\n",
    "none": b"",
}


@pytest.fixture(
    params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a body against a server with some settings, on each kind of event loop."""

    def with_settings(body: Body, **settings: Any) -> None:
        async def main() -> None:
            async with wired(**settings) as wire:
                await body(wire)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return with_settings


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


def refused(answer: bytes, status: int) -> dict[str, str]:
    assert statuses(answer) == [status]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return json.loads(body)


def post(body: bytes, more: bytes = b"", path: bytes = b"/b", *, chunked: bool = False) -> bytes:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + more
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 50, 400])
def test_an_offer_to_upgrade_is_ignored(
    run: Callable[..., None], offer: str, chunked: bool, cut: int
) -> None:
    """The body arrives with the head, or in other packets, and the connection goes on."""

    async def body(wire: Wire) -> None:
        first = post(b"x" * 200, OFFERS[offer], chunked=chunked)
        pieces = [first[i : i + cut] for i in range(0, len(first), cut)] if cut else [first]
        rest = GET + OFFERS[offer] + b"\r\n" + post(b"", OFFERS[offer]) + GET + CLOSE + b"\r\n"
        answer = await wire.say(*pieces, rest)
        assert statuses(answer) == [200] * 4
        assert [(path, size) for _, path, size in wire.seen] == [
            ("/b", 200), ("/a", 0), ("/b", 0), ("/a", 0),
        ]  # fmt: skip

    run(body)


def test_a_large_body_with_an_offer_arrives_whole(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        upload = post(bytes(3_000_000), OFFERS["h2c"])
        answer = await wire.say(upload + GET + CLOSE + b"\r\n")
        assert statuses(answer) == [200, 200]
        assert b"/b 3000000;" in answer

    run(body)


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
        (b"GET / HTTP/1.1\r\nX y\r\n\r\n", 400, "no HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "no HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "no HTTP/1.1"),
        (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", 400, "no HTTP/1.1"),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "no HTTP/1.1"),
        (GET + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", 400, "no HTTP/1.1"),
        (GET + b"Content-Length: +5\r\n\r\n", 400, "no HTTP/1.1"),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "no HTTP/1.1"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "no HTTP/1.1"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 900_000, 431, "MAX_HEADER_BYTES"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 900_000, 431, "HEADER_BYTES"),
        (
            GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2 * FREE_CHUNKS,
            400,
            "1.0 bytes on average",
        ),
    ],
)
def test_what_no_handler_sees_is_answered_all_the_same(
    run: Callable[..., None], request_: bytes, status: int, says: str
) -> None:
    async def body(wire: Wire) -> None:
        assert says in refused(await wire.say(request_), status)["error"]
        assert not wire.seen
        after = await wire.say(GET + CLOSE + b"\r\n")
        assert statuses(after) == [200]

    run(body, max_header_bytes=2000, max_headers=20)


def test_the_path_of_what_is_refused_is_known_for_the_shape_of_its_answer(
    run: Callable[..., None],
) -> None:
    async def body(wire: Wire) -> None:
        answer = await wire.say(b"GET /v2/models?x=1 HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n")
        assert refused(answer, 431)["path"] == "/v2/models"
        assert refused(await wire.say(b"nonsense\r\n\r\n"), 400)["path"] == ""

    run(body, max_header_bytes=2000)


def test_heads_within_the_limits_pass_in_any_packets(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        head = GET + b"X: " + b"a" * 1900 + b"\r\n" + CLOSE + b"\r\n"
        for size in (1, 100, 5000):
            answer = await wire.say(*[head[i : i + size] for i in range(0, len(head), size)])
            assert statuses(answer) == [200]
        many = (GET + b"X: " + b"a" * 1900 + b"\r\n\r\n") * 50 + GET + CLOSE + b"\r\n"
        assert statuses(await wire.say(many)) == [200] * 51
        assert statuses(await wire.say(post(bytes(500_000)) + GET + CLOSE + b"\r\n")) == [200] * 2

    run(body, max_header_bytes=2000, max_headers=20)


def test_trailers_are_no_headers(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        chunked = (
            GET + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Api-Key: a\r\n\r\n"
        )
        assert statuses(await wire.say(chunked)) == [200]

    run(body)


def test_an_answer_before_a_refusal_is_sent_first(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        pending = asyncio.create_task(
            wire.say(GET.replace(b"/a", b"/wait") + b"\r\n" + GET + b"\r\nnonsense\r\n\r\n")
        )
        await until(lambda: wire.state.tasks)
        wire.go.set()
        answer = await pending
        assert statuses(answer) == [200, 200, 400]
        assert b"/wait 0;" in answer

    run(body)


def test_a_body_that_turns_bad_ends_its_request(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        chunked = GET + b"Transfer-Encoding: chunked\r\n\r\n"
        refused(await wire.say(chunked + b"1\r\nx\r\n", b"zz\r\n"), 400)
        await until(lambda: wire.gone == 1)
        early = await wire.say(chunked.replace(b"/a", b"/early") + b"1\r\nx\r\n", b"zz\r\n")
        assert statuses(early) in ([401], [400])

    run(body)


def test_an_early_answer_is_read_by_a_client_that_goes_on_sending(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        for more in (CLOSE, b""):
            upload = post(bytes(20_000_000), more, b"/early")
            answer = await wire.say(upload + (b"" if more else GET + CLOSE + b"\r\n"))
            assert statuses(answer) == [401] if more else [401, 200]

    run(body)


def test_a_client_that_has_sent_all_may_close_its_half(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        pending = asyncio.create_task(wire.say(GET.replace(b"/a", b"/wait") + b"\r\n", eof=True))
        await until(lambda: wire.state.tasks)
        wire.go.set()
        assert statuses(await pending) == [200]
        assert await wire.say(post(b"x" * 100)[:-1], eof=True) == b""
        await wire.until_alone()

    run(body)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", GET, GET + b"X: y\r\n"])
def test_a_connection_without_a_whole_head_is_closed(run: Callable[..., None], sent: bytes) -> None:
    async def body(wire: Wire) -> None:
        answer = await wire.say(sent) if sent else await wire.say()
        if sent.strip():
            assert "QUINCUNX_HEADER_TIMEOUT_MS" in refused(answer, 408)["error"]
        else:
            assert answer == b""
        assert wire.reasons == ["slow" if sent.strip() else "silent"]

    run(body, header_timeout_ms=200)


def test_drops_of_a_head_do_not_keep_a_connection(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        reader, writer = await wire.open()
        writer.write(b"GET / HTTP/1.1\r\n")

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        with suppress(ConnectionResetError):  # it goes on sending after the answer
            assert statuses(await asyncio.wait_for(reader.read(), 60)) == [408]
        assert wire.reasons == ["slow"]
        dripping.cancel()
        writer.close()

    run(body, header_timeout_ms=200)


@pytest.mark.parametrize("more", [b"", b"G"])
def test_an_idle_connection_is_closed_after_its_answers(
    run: Callable[..., None], more: bytes
) -> None:
    async def body(wire: Wire) -> None:
        answer = await wire.say(GET + b"\r\n" + post(b"x") + more)
        assert statuses(answer) == [200, 200, 408] if more else [200, 200]

    run(body, header_timeout_ms=300, keep_alive_ms=50)


def test_a_connection_whose_refused_body_is_through_is_idle_and_closed(
    run: Callable[..., None],
) -> None:
    async def body(wire: Wire) -> None:
        upload = post(bytes(500_000), path=b"/early")
        reader, writer = await wire.open()
        writer.write(upload[:1000])
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.write(upload[1000:])
        with suppress(ConnectionResetError):  # where the rest came late
            await asyncio.wait_for(reader.read(), 60)
        writer.close()

    run(body, keep_alive_ms=300)


def test_at_the_limit_the_longest_silent_connection_makes_room(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        held = [await wire.open() for _ in range(4)]
        held[0][1].write(GET + b"\r\n")
        await held[0][0].readuntil(b"/a 0;")
        await until(lambda: len(wire.state.connections) == 4)
        for place in (1, 2, 3, 0):  # number 0 had a request since
            assert statuses(await wire.say(GET + CLOSE + b"\r\n")) == [200]
            held.append(await wire.open())
            assert await held[place][0].read() == b""
            await until(lambda: len(wire.state.connections) == 4)
        assert wire.reasons.count("evicted") >= 4
        for _, writer in held:
            writer.close()

    run(body, max_connections=4)


def test_at_the_limit_with_all_busy_a_connection_is_turned_away(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        waiting = GET.replace(b"/a", b"/wait") + CLOSE + b"\r\n"
        busy = [asyncio.create_task(wire.say(waiting)) for _ in range(2)]
        await until(lambda: len(wire.state.tasks) == 2)
        answer = refused(await wire.say(b""), 503)
        assert "QUINCUNX_MAX_CONNECTIONS" in answer["error"]
        wire.go.set()
        assert [statuses(await task) for task in busy] == [[200], [200]]
        assert wire.reasons == ["full"]

    run(body, max_connections=2)


@pytest.mark.parametrize("more", [CLOSE, b""])
def test_an_answer_that_nobody_takes_is_counted_and_dropped(
    run: Callable[..., None], more: bytes
) -> None:
    async def body(wire: Wire) -> None:
        reader, writer = await wire.open()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET.replace(b"/a", b"/big/30000000") + more + b"\r\n")
        await until(lambda: wire.inflight.held_bytes > 1_000_000)
        await wire.until_alone()
        assert wire.inflight.held_bytes == 0
        assert wire.reasons == ["unread"]
        writer.transport.abort()

    run(body, send_timeout_ms=100)


def test_an_answer_that_is_taken_in_time_arrives_whole(run: Callable[..., None]) -> None:
    async def body(wire: Wire) -> None:
        reader, writer = await wire.open()
        writer.write(GET.replace(b"/a", b"/big/20000000") + CLOSE + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        assert len(answer.partition(b"\r\n\r\n")[2]) == 20_000_000
        assert wire.inflight.held_bytes == 0
        writer.close()

    run(body, send_timeout_ms=30_000)


def test_a_server_that_ends_waits_for_no_answer_longer_than_the_limit(
    run: Callable[..., None],
) -> None:
    async def body(wire: Wire) -> None:
        reader, writer = await wire.open()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET.replace(b"/a", b"/big/30000000") + b"\r\n")
        silent, other = await wire.open()
        await until(lambda: wire.inflight.held_bytes)
        for connection in list(wire.state.connections):
            connection.shutdown()
        assert await silent.read() == b""
        other.close()
        await wire.until_alone()
        writer.transport.abort()

    run(body, send_timeout_ms=100)


def test_refusals_are_errors_of_the_sender() -> None:
    from service.errors import HeadersTooLarge, RequestTimeout, TargetTooLong

    for error, status in ((HeadersTooLarge, 431), (RequestTimeout, 408), (TargetTooLong, 414)):
        assert issubclass(error, ClientError)
        assert error.status == status
