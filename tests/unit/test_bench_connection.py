"""The load test's own HTTP client: what it takes for an answer, and what for a broken one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bench.load.connection import Address, Connection, address_of, head

LIMIT_S = 30
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
INFORMED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
STATUSES = {PLAIN: 200, CHUNKED: 429, EMPTY: 503, INFORMED: 200}
REQUEST = head("http://host/classify", {}, 2) + b"{}"


@asynccontextmanager
async def served(answers: list[list[bytes]], *, close: bool = False) -> AsyncIterator[Address]:
    """The address of a server that answers each request with the next pieces."""
    waiting = iter(answers)
    ended = asyncio.Event()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readexactly(len(REQUEST)):
                for piece in next(waiting):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if close:
                    break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    async with asyncio.timeout(LIMIT_S):
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
        await ended.wait()
        server.close()


@st.composite
def cut_answers(draw: st.DrawFn) -> list[list[bytes]]:
    """Answers, each cut into pieces."""
    answers = draw(st.lists(st.sampled_from(list(STATUSES)), min_size=1, max_size=4))
    return [
        _cut(answer, draw(st.lists(st.integers(1, len(answer) - 1), max_size=4)))
        for answer in answers
    ]


def _cut(answer: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(answer)]
    return [answer[a:b] for a, b in pairwise(edges)]


@settings(max_examples=40)
@given(answers=cut_answers())
async def test_an_answer_in_any_pieces_is_read_to_its_end(answers: list[list[bytes]]) -> None:
    async with served(answers) as address:
        connection = await Connection.to(address)
        for answer in answers:
            assert await connection.exchange(REQUEST) == STATUSES[b"".join(answer)]
            assert connection.open
        connection.close()


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with served([[b"HTTP/1.0 200 OK\r\n\r\n", b"to the end"]], close=True) as address:
        connection = await Connection.to(address)
        assert await connection.exchange(REQUEST) == 200
        assert not connection.open


async def test_a_connection_that_the_server_will_close_is_not_used_again() -> None:
    async with served(
        [[b"HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]]
    ) as address:
        connection = await Connection.to(address)
        assert await connection.exchange(REQUEST) == 429
        assert not connection.open
        with pytest.raises(ConnectionError):
            await connection.exchange(REQUEST)


@pytest.mark.parametrize(
    "answer", [b"", PLAIN[:-1], CHUNKED[:-5], b"HTTP/1.1 200", b"SSH-2.0-x\r\n"]
)
async def test_half_an_answer_and_no_http_are_broken_connections(answer: bytes) -> None:
    async with served([[answer] if answer else []], close=True) as address:
        connection = await Connection.to(address)
        with pytest.raises(ConnectionError):
            await connection.exchange(REQUEST)
        assert not connection.open


def test_the_head_names_host_length_and_query() -> None:
    made = head("http://host:3000/classify?tta=none", {"X-Api-Key": "k"}, 7).decode()
    assert made.startswith("POST /classify?tta=none HTTP/1.1\r\nHost: host:3000\r\n")
    assert made.endswith("\r\n\r\n")
    assert "\r\nContent-Length: 7\r\n" in made
    assert "\r\nX-Api-Key: k\r\n" in made


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="X-Evil"):
        head("http://host/", {"X-Evil": "a\r\nContent-Length: 0"}, 7)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:3000/classify", Address("127.0.0.1", 3000, tls=False)),
        ("http://host/", Address("host", 80, tls=False)),
        ("https://host/", Address("host", 443, tls=True)),
        ("https://[::1]:8443/x", Address("::1", 8443, tls=True)),
    ],
)
def test_a_url_s_address(url: str, address: Address) -> None:
    assert address_of(url) == address
