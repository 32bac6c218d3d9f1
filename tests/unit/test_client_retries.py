"""The retries of `quincunx.Client`: after Retry-After, and never beyond the deadline."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

import quincunx
from quincunx import errors
from service.client.exchange import Call, Send, Wait, exchange
from service.client.failures import retry_after_s

CALL = Call("POST", "/classify")


class Clock:
    """A clock that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def refusal(status: int = 429, retry_after: str | None = "2") -> httpx.Response:
    code = "overloaded" if status == 429 else "shutting_down"
    detail = {"type": "client_error", "code": code, "message": "full", "request_id": "r"}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    request = httpx.Request("POST", "http://test/classify")
    return httpx.Response(status, json={"error": detail}, headers=headers, request=request)


@pytest.mark.parametrize("status", [429, 503])
def test_the_next_try_comes_after_retry_after(status: int) -> None:
    clock = Clock()
    steps = exchange(CALL, "http://test", 10, clock, draw=lambda: 1.0)
    assert steps.send(None) == Send(10)
    assert steps.send(refusal(status)) == Wait(2.5)  # and a quarter, drawn
    clock.now += 2.5
    assert steps.send(None) == Send(7.5)
    with pytest.raises(StopIteration) as end:
        steps.send(httpx.Response(200))
    assert end.value.value.status_code == 200


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    steps = exchange(CALL, "http://test", 10, Clock(), draw=lambda: 0.0)
    next(steps)
    with pytest.raises(errors.Overloaded, match="full") as got:
        steps.send(refusal(retry_after="10"))
    assert got.value.retry_after_s == 10


def test_tries_end_with_the_deadline() -> None:
    clock = Clock()
    steps = exchange(CALL, "http://test", 10, clock, draw=lambda: 0.0)
    next(steps)
    for _ in range(9):
        wait = steps.send(refusal(503, None))  # without Retry-After: a second
        assert wait == Wait(1)
        clock.now += 1
        assert steps.send(None) == Send(110 - clock.now)
    with pytest.raises(errors.ShuttingDown):
        steps.send(refusal(503, None))


@pytest.mark.parametrize("status", [400, 422, 500, 504])
def test_other_errors_are_not_retried(status: int) -> None:
    steps = exchange(CALL, "http://test", 10, Clock())
    next(steps)
    with pytest.raises(errors.QuincunxError):
        steps.send(refusal(status))


@pytest.mark.parametrize(
    "error",
    [
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ReadError("reset"),
        httpx.WriteError("broken pipe"),
    ],
)
def test_a_broken_connection_is_tried_once_more(error: httpx.HTTPError) -> None:
    steps = exchange(CALL, "http://test", 10, Clock())
    assert next(steps) == steps.send(error) == Send(10)
    with pytest.raises(errors.Unreachable, match=str(error)):
        steps.send(error)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.RemoteProtocolError("illegal status line")]
)
def test_no_connection_and_no_http_are_not_tried_again(error: httpx.HTTPError) -> None:
    steps = exchange(CALL, "http://test", 10, Clock())
    next(steps)
    with pytest.raises(errors.Unreachable, match=str(error)):
        steps.send(error)


def test_no_answer_in_time_is_an_error_with_the_knob() -> None:
    steps = exchange(CALL, "http://test", 10, Clock())
    next(steps)
    with pytest.raises(errors.DeadlineExceeded, match=r"within 10 s \(timeout_s\)"):
        steps.send(httpx.ReadTimeout("slow"))


def test_retry_after_is_a_number_or_a_date() -> None:
    def read(text: str) -> float | None:
        return retry_after_s(httpx.Response(429, headers={"Retry-After": text}))

    assert read("7") == 7
    assert read("-1") is None
    assert read("soon") is None
    later = read(format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True))
    assert later is not None
    assert 0 < later <= 600
    assert read("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_s(httpx.Response(429)) is None


async def test_both_clients_wait_and_send_the_whole_request_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies: list[bytes] = []
    slept: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return refusal() if len(bodies) % 2 else httpx.Response(200, json={"models": []})

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("service.client.client.time.sleep", slept.append)
    monkeypatch.setattr("service.client.async_client.asyncio.sleep", sleep)
    transport = httpx.MockTransport(answer)
    with quincunx.Client("http://test", transport=transport) as client:
        assert client.models() == []
        with pytest.raises(errors.Unreachable):  # an answer of another shape, after one retry
            client.classify(b"photo", tta="none")
    assert bodies[2].split(b"\r\n")[1:] != []
    assert b"photo" in bodies[2]
    assert b"photo" in bodies[3]
    async with quincunx.AsyncClient("http://test", transport=transport) as client:
        assert await client.models() == []
    assert len(slept) == 3
    assert all(2 <= seconds <= 2.5 for seconds in slept)


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer that never ends."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b" "

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)


async def test_an_answer_without_an_end_ends_with_the_deadline() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    client = quincunx.Client("http://test", transport=transport, timeout_s=0.05)
    with client, pytest.raises(errors.DeadlineExceeded):
        client.models()
    async with quincunx.AsyncClient("http://test", transport=transport, timeout_s=0.05) as client:
        with pytest.raises(errors.DeadlineExceeded):
            await client.models()


def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(b'{"models": []}')
    headers = {"Content-Encoding": "gzip"}
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, stream=httpx.ByteStream(body), headers=headers)
    )
    with quincunx.Client("http://test", transport=transport) as client:
        assert client.models() == []


def test_an_upload_is_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part arrives in time, and all of them together do not."""
    clock, parts = Clock(), list[int]()
    monkeypatch.setattr("service.client.exchange.time.monotonic", clock)

    class Slow(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.SyncByteStream)
            for part in request.stream:
                parts.append(len(part))
                clock.now += 1
            raise AssertionError("the upload ends")

    with (
        quincunx.Client("http://test", timeout_s=5, transport=Slow()) as client,
        pytest.raises(errors.DeadlineExceeded, match="timeout_s"),
    ):
        client.classify(bytes(10_000_000))
    assert 5 <= len(parts) <= 7
    assert max(parts) < 1_000_000
