"""Limits on connections: on their time, their number, and answers that nobody takes."""

import asyncio
import re
from contextlib import suppress

import pytest

from service.api.transport.counting import MAX_WAITING
from tests.support.waiting import until
from tests.support.wire import CLOSE, GET, LOOPS, post, refused, statuses, wired

pytestmark = pytest.mark.parametrize("anyio_backend", LOOPS)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", GET, GET + b"X: y\r\n"])
async def test_a_connection_without_a_whole_head_is_closed(sent: bytes) -> None:
    async with wired(header_timeout_ms=200) as wire:
        answer = await wire.say(sent) if sent else await wire.say()
        if sent.strip():
            assert "QUINCUNX_HEADER_TIMEOUT_MS" in refused(answer, 408)["error"]
        else:
            assert answer == b""
        assert wire.reasons == ["slow" if sent.strip() else "silent"]


async def test_drops_of_a_head_do_not_keep_a_connection() -> None:
    async with wired(header_timeout_ms=200) as wire:
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


@pytest.mark.parametrize("more", [b"", b"G"])
async def test_an_idle_connection_is_closed_after_its_answers(more: bytes) -> None:
    async with wired(header_timeout_ms=300, keep_alive_ms=50) as wire:
        answer = await wire.say(GET + b"\r\n" + post(b"x") + more)
        assert statuses(answer) == [200, 200, 408] if more else [200, 200]


async def test_a_connection_whose_refused_body_is_through_is_idle_and_closed() -> None:
    async with wired(keep_alive_ms=300) as wire:
        upload = post(bytes(500_000), path=b"/early")
        reader, writer = await wire.open()
        writer.write(upload[:1000])
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.write(upload[1000:])
        with suppress(ConnectionResetError):  # where the rest came late
            await asyncio.wait_for(reader.read(), 60)
        writer.close()


async def test_at_the_limit_the_longest_silent_connection_makes_room() -> None:
    async with wired(max_connections=4) as wire:
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


async def test_at_the_limit_with_all_busy_a_connection_is_turned_away() -> None:
    async with wired(max_connections=2) as wire:
        waiting = GET.replace(b"/a", b"/wait") + CLOSE + b"\r\n"
        busy = [asyncio.create_task(wire.say(waiting)) for _ in range(2)]
        await until(lambda: len(wire.state.tasks) == 2)
        answer = refused(await wire.say(b""), 503)
        assert "QUINCUNX_MAX_CONNECTIONS" in answer["error"]
        wire.go.set()
        assert [statuses(await task) for task in busy] == [[200], [200]]
        assert wire.reasons == ["full"]


@pytest.mark.parametrize("more", [CLOSE, b""])
async def test_an_answer_that_nobody_takes_is_counted_and_dropped(more: bytes) -> None:
    async with wired(send_timeout_ms=100) as wire:
        reader, writer = await wire.open()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET.replace(b"/a", b"/big/30000000") + more + b"\r\n")
        await until(lambda: wire.inflight.held_bytes > 1_000_000)
        await wire.until_alone()
        assert wire.inflight.held_bytes == 0
        assert wire.reasons == ["unread"]
        writer.transport.abort()


async def test_pipelined_requests_are_answered_in_order_up_to_a_limit() -> None:
    async with wired() as wire:
        few = [GET.replace(b"/a", b"/%d" % i) + b"\r\n" for i in range(12)]
        answer = await wire.say(b"".join(few) + GET + CLOSE + b"\r\n")
        assert statuses(answer) == [200] * 13
        assert re.findall(rb"/(\d+) 0;", answer) == [b"%d" % i for i in range(12)]
        wire.seen.clear()
        many = await wire.say((GET + b"\r\n") * 3000)
        answered = statuses(many)
        assert answered == [200] * (len(answered) - 1) + [429]
        assert len(answered) == MAX_WAITING + 2 == len(wire.seen) + 1


async def test_pipelined_requests_end_with_their_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The one that is being answered is not the one that came last."""
    async with wired(send_timeout_ms=100) as wire:
        reader, writer = await wire.open()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write((GET.replace(b"/a", b"/big/3000000") + b"\r\n") * 20)
        await wire.until_alone()
        await until(lambda: not wire.state.tasks)
        assert wire.reasons == ["unread"]
        assert len(wire.seen) < 20
        writer.transport.abort()
    assert not caplog.records  # no exception of an answer to a closed connection


async def test_an_answer_that_is_taken_in_time_arrives_whole() -> None:
    async with wired(send_timeout_ms=30_000) as wire:
        reader, writer = await wire.open()
        writer.write(GET.replace(b"/a", b"/big/20000000") + CLOSE + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        assert len(answer.partition(b"\r\n\r\n")[2]) == 20_000_000
        assert wire.inflight.held_bytes == 0
        writer.close()


async def test_a_server_that_ends_waits_for_no_answer_longer_than_the_limit() -> None:
    async with wired(send_timeout_ms=100) as wire:
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
