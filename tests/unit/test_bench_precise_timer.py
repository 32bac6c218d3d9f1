"""The loop of a load test's client: it sees its sockets, and keeps its times."""

import asyncio
import selectors
import socket
from collections.abc import Iterator

import pytest

from service.bench.load.precise_timer import precise_loop


@pytest.fixture(params=["epoll", "select"])
def loop(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[asyncio.AbstractEventLoop]:
    if request.param == "select":
        monkeypatch.delattr(selectors, "EpollSelector", raising=False)
    elif not hasattr(selectors, "EpollSelector"):
        pytest.skip("this system has no epoll")
    loop = precise_loop()
    yield loop
    loop.close()


def test_it_reads_and_writes_many_sockets(loop: asyncio.AbstractEventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(40)]

    async def ask(number: int, here: socket.socket, there: socket.socket) -> bytes:
        here.setblocking(False)
        there.setblocking(False)
        await loop.sock_sendall(here, b"%d" % number)
        await loop.sock_sendall(there, await loop.sock_recv(there, 10) + b"!")
        return await loop.sock_recv(here, 10)

    async def main() -> list[bytes]:
        return await asyncio.gather(*(ask(n, *pair) for n, pair in enumerate(pairs)))

    assert loop.run_until_complete(main()) == [b"%d!" % number for number in range(40)]
    for pair in pairs:
        for end in pair:
            end.close()


def test_timers_come_in_order_and_never_early(loop: asyncio.AbstractEventLoop) -> None:
    came: list[tuple[float, float]] = []

    async def main() -> None:
        started = loop.time()

        async def wait(seconds: float) -> None:
            await asyncio.sleep(seconds)
            came.append((seconds, loop.time() - started))

        await asyncio.gather(*(wait(ms / 1000) for ms in (7.3, 0.4, 3.9, 0.0)))

    loop.run_until_complete(main())
    assert [wanted for wanted, _ in came] == [0.0, 0.0004, 0.0039, 0.0073]
    # asyncio runs a timer up to one tick of its clock ahead.
    assert all(took >= wanted - 1e-6 for wanted, took in came)


def test_a_call_from_another_thread_wakes_it(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> str:
        return await asyncio.to_thread(str, "woken")

    assert loop.run_until_complete(main()) == "woken"
