"""The connections of `quincunx.Client`: kept open, and through the proxy of the environment."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

import quincunx
from quincunx import errors
from service.client import async_client

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"models": []}'
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def answering() -> Iterator[tuple[str, list[list[bytes]]]]:
    """A server that answers every request well, and the first lines of each connection."""
    seen: list[list[bytes]] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            seen.append([])
            thread = threading.Thread(target=serve, args=(connection, seen[-1]))
            thread.start()
            served.append(thread)

    def serve(connection: socket.socket, lines: list[bytes]) -> None:
        with connection:
            while request := connection.recv(65536):
                lines.append(request.split(b"\r\n")[0])
                connection.sendall(ANSWER)

    served: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for one in (thread, *served):
                one.join()


def test_a_connection_is_used_again() -> None:
    with answering() as (url, seen):
        with quincunx.Client(url) as client:
            for _ in range(3):
                assert client.models() == []
        assert seen == [[b"GET /models HTTP/1.1"] * 3]


def test_a_forked_process_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as (url, seen):
        with quincunx.Client(url) as client:
            client.models()
            inherited = client._http
            monkeypatch.setattr(os, "getpid", lambda: -1)
            client.models()
            client.models()
            inherited.close()
        assert seen == [[b"GET /models HTTP/1.1"], [b"GET /models HTTP/1.1"] * 2]


def test_a_forked_process_keeps_a_client_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as (url, seen):
        client = quincunx.Client(url)
        client.close()
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(errors.UsageError, match="closed"):
            client.models()
        assert seen == []


def test_each_event_loop_has_connections_of_its_own() -> None:
    with answering() as (url, seen):
        client = quincunx.AsyncClient(url)

        async def ask() -> None:
            await client.models()
            await client.models()
            await client.close()

        for _ in range(3):
            asyncio.run(ask())
        assert seen == [[b"GET /models HTTP/1.1"] * 2] * 3


def test_a_connection_that_the_server_closes_meanwhile_is_opened_again() -> None:
    def accept() -> None:
        for answers in (0, 1):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ANSWER * answers)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        with quincunx.Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert client.models() == []
        thread.join()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as (url, seen):
        monkeypatch.setenv(name.lower(), url)
        with quincunx.Client("http://far.example:3000") as client:
            assert client.models() == []
        assert seen == [[b"GET http://far.example:3000/models HTTP/1.1"]]


@pytest.mark.parametrize("excepted", ["127.0.0.1", "*", "other.example,127.0.0.1"])
def test_no_proxy_is_used_for_an_excepted_host(
    excepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", excepted)
    with answering() as (url, _), quincunx.Client(url) as client:
        assert client.models() == []


@pytest.mark.parametrize(
    ("proxy", "message"),
    [("gopher://a", "proxy of the environment"), ("http://a:port", "proxy of the environment")],
)
def test_a_proxy_that_cannot_be_used_is_refused(
    proxy: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(errors.UsageError, match=message):
        quincunx.Client("http://far.example")


def test_the_error_of_a_connection_names_the_server() -> None:
    with socket.socket() as refusing:  # bound, and not listening
        refusing.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{refusing.getsockname()[1]}"
        with quincunx.Client(url) as client, pytest.raises(errors.Unreachable, match=url):
            client.models()


def test_an_answer_that_is_no_http_is_an_error() -> None:
    def accept() -> None:
        for _ in range(2):  # a connection that ends without an answer is tried once more
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        with (
            quincunx.Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client,
            pytest.raises(errors.Unreachable, match="no answer from"),
        ):
            client.models()
        thread.join()


async def test_a_loop_sends_a_hundred_requests_at_once_and_all_are_answered() -> None:
    """1500 requests that waited inside httpx took longer than their 60 s, and none was answered."""
    running: list[int] = []
    most = 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.pop()
        return httpx.Response(200, json={"models": []})

    transport = httpx.MockTransport(answer)
    async with quincunx.AsyncClient("http://test", transport=transport) as client:
        answers = await asyncio.gather(*(client.models() for _ in range(300)))
    assert answers == [[]] * 300
    assert 1 < most <= async_client.MAX_AT_ONCE


async def test_a_request_that_got_no_turn_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_client, "MAX_AT_ONCE", 0)
    client = quincunx.AsyncClient("http://test", timeout_s=0.01)
    with pytest.raises(errors.DeadlineExceeded, match=r"was not sent within 0\.01 s"):
        await client.models()
    assert not (await client.health()).live
