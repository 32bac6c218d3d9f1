"""`timeout_s` bounds a whole call of both clients, whatever the server does with its socket.

The servers here go on for `LONG_S` seconds, unless the client leaves before. A client that stays
to the end fails the test.
"""

import asyncio
import gc
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest

import quincunx
from quincunx import errors

LONG_S = 15
TIMEOUT_S = 0.3
BODY = b'{"models": []}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

Answer = Callable[[socket.socket], None]


def drip(connection: socket.socket, data: Iterator[bytes]) -> None:
    """Send parts slowly until the client has gone or the time is over."""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        connection.sendall(next(data))
        time.sleep(0.02)


def slow_head(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"X-Slow: ")
    drip(connection, itertools.repeat(b"x"))


def slow_body(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n" + BODY)  # no length: the body ends with the connection
    drip(connection, itertools.repeat(b" "))


def slow_chunk_head(connection: socket.socket) -> None:
    """No byte of the body comes, so that a check between parts of the body would never run."""
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\ne;note=")
    drip(connection, itertools.repeat(b"x"))


def endless_interim_answers(connection: socket.socket) -> None:
    drip(connection, itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))


def silent(connection: socket.socket) -> None:
    connection.settimeout(LONG_S)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return
    raise BrokenPipeError("the client has gone")


def always_busy(connection: socket.socket) -> None:
    """Each answer is quick and asks for a retry at once."""
    body = b'{"error": {"type": "", "code": "overloaded", "message": "full", "request_id": ""}}'
    busy = b"HTTP/1.1 429 x\r\nRetry-After: 0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        connection.sendall(busy)
        if not connection.recv(65536):
            raise BrokenPipeError("the client has gone")


@contextmanager
def serving(answer: Answer, *, reads: bool = True) -> Iterator[str]:
    """Give each connection to `answer`, in a thread. No client may stay until it returns."""
    threads: list[threading.Thread] = []
    stayed: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        with closing(connection):
            try:
                if reads:
                    connection.recv(65536)
                answer(connection)
                stayed.append(connection)
            except OSError:  # the client has gone
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=handle, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()
    assert not stayed, "a client waited longer than its timeout_s"


def from_sync(url: str) -> None:
    with quincunx.Client(url, timeout_s=TIMEOUT_S) as client:
        client.models()


def from_async(url: str) -> None:
    async def ask() -> None:
        async with quincunx.AsyncClient(url, timeout_s=TIMEOUT_S) as client:
            await client.models()

    asyncio.run(ask())


CLIENTS = pytest.mark.parametrize("ask", [from_sync, from_async])


@CLIENTS
@pytest.mark.parametrize(
    "answer", [slow_head, slow_body, slow_chunk_head, endless_interim_answers, silent]
)
def test_a_slow_answer_ends_with_the_deadline(answer: Answer, ask: Callable[[str], None]) -> None:
    message = r"within 0.3 s \(timeout_s\)"
    with serving(answer) as url, pytest.raises(errors.DeadlineExceeded, match=message):
        ask(url)


@CLIENTS
def test_retries_end_with_the_deadline(ask: Callable[[str], None]) -> None:
    with serving(always_busy) as url, pytest.raises((errors.Overloaded, errors.DeadlineExceeded)):
        ask(url)


@CLIENTS
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_never_answers_the_tls_hello(ask: Callable[[str], None]) -> None:
    with serving(silent, reads=False) as url:
        with pytest.raises(errors.DeadlineExceeded):
            ask(url.replace("http:", "https:"))
        gc.collect()  # httpcore leaves the socket of a cancelled TLS handshake to the collector


def test_an_upload_that_nobody_reads_ends_with_the_deadline() -> None:
    gone = threading.Event()

    def read_nothing(_: socket.socket) -> None:
        if gone.wait(LONG_S):
            raise BrokenPipeError("the client has gone")

    with serving(read_nothing, reads=False) as url:
        with (
            quincunx.Client(url, timeout_s=TIMEOUT_S) as client,
            pytest.raises(errors.DeadlineExceeded),
        ):
            client.classify(bytes(64_000_000))
        gone.set()


@CLIENTS
def test_a_slow_look_up_of_the_name_ends_with_the_deadline(
    ask: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        done.wait(LONG_S)
        return []

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    timer = threading.Timer(2 * TIMEOUT_S, done.set)  # asyncio waits for its thread at the end
    timer.start()
    with pytest.raises(errors.DeadlineExceeded):
        ask("http://slow.example")
    done.set()
    timer.join()


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on the first one."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(GOOD)
        raise BrokenPipeError("the client may go")

    with serving(answer) as url:
        port = httpx.URL(url).port
        answers = [(2, 1, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]
        real = socket.getaddrinfo

        def look_up(host: str, *more: Any, **named: Any) -> Any:
            return answers if host == "twice.example" else real(host, *more, **named)

        monkeypatch.setattr("socket.getaddrinfo", look_up)
        with quincunx.Client(f"http://twice.example:{port}") as client:
            assert client.models() == []


def test_a_name_without_an_address_is_an_error_with_the_name() -> None:
    with (
        quincunx.Client("http://nowhere.invalid") as client,
        pytest.raises(errors.Unreachable, match=r"nowhere\.invalid"),
    ):
        client.models()


def test_the_two_questions_of_health_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method began three seconds ago."""
    limits, clock = list[float](), time.monotonic
    monkeypatch.setattr("service.client.client.time.monotonic", lambda: clock() - 3)

    def answer(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"]["read"])
        return httpx.Response(200)

    transport = httpx.MockTransport(answer)
    with quincunx.Client("http://test", timeout_s=5, transport=transport) as client:
        assert client.health().ready
    assert len(limits) == 2
    assert max(limits) <= 2
