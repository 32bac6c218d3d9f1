"""However bytes are cut into packets, they mean the same; no bytes end the server."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.wire import CLOSE, GET, LOOPS, post, statuses, wired

pytestmark = pytest.mark.parametrize("anyio_backend", LOOPS[1:])

OFFER = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
REQUESTS = st.lists(
    st.one_of(
        st.just(GET + b"\r\n"),
        st.just(GET + OFFER + b"\r\n"),
        st.builds(
            post,
            st.binary(max_size=300),
            st.sampled_from([b"", OFFER]),
            st.sampled_from([b"/b", b"/early"]),
            chunked=st.booleans(),
        ),
    ),
    max_size=5,
)
PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"POST /b HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"\r\n",
        b"5\r\nabcde\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"\n",
        b" ",
        b":",
        b"\x00",
    ]
)
PACKETS = st.lists(PIECES, max_size=6).map(b"".join) | st.binary(max_size=50)


@settings(max_examples=60)
@given(requests=REQUESTS, cuts=st.lists(st.integers(0, 3000), max_size=12))
async def test_cuts_change_nothing(requests: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(requests) + GET + CLOSE + b"\r\n"
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    packets = [stream[a:b] for a, b in pairwise(at)]
    async with wired() as wire:
        answer = await wire.say(*packets)
        expected = [401 if b"/early" in request else 200 for request in requests]
        assert statuses(answer) == [*expected, 200]


@settings(max_examples=150)
@given(packets=st.lists(PACKETS, max_size=4))
async def test_no_bytes_end_the_server(packets: list[bytes]) -> None:
    async with wired(keep_alive_ms=100, header_timeout_ms=1000) as wire:
        with suppress(ConnectionError):
            answer = await wire.say(*packets, eof=True)
            assert all(status < 500 for status in statuses(answer))
        assert statuses(await wire.say(GET + CLOSE + b"\r\n")) == [200]
