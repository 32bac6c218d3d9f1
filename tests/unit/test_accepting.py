"""Two acceptors on one listening socket, as two workers have: each gets its share."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from service.api.server.accepting import MOST_DEFERRALS, Acceptor
from service.api.server.shared_memory import Shared, Slot
from tests.support.waiting import until


class Process:
    """What one worker has: its acceptor and its connections."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = socket.socket(fileno=socket.dup(listener.fileno()))
        self.connections: list[socket.socket] = []
        self.others: list[Process] = []
        self.acceptor: Acceptor | None = None

    def start(self) -> None:
        self.acceptor = Acceptor(
            self.listener,
            self._connect,
            own=lambda: len(self.connections),
            fewest_of_others=lambda: min((len(o.connections) for o in self.others), default=None),
        )

    async def _connect(self, accepted: socket.socket) -> None:
        self.connections.append(accepted)

    def close(self) -> None:
        if self.acceptor is not None:
            self.acceptor.close()
        for each in (self.listener, *self.connections):
            each.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def connected(stack: ExitStack, listener: socket.socket, number: int) -> None:
    for _ in range(number):
        client = stack.enter_context(socket.socket())
        client.connect(listener.getsockname())


@pytest.mark.anyio
async def test_connections_are_shared_evenly(listener: socket.socket) -> None:
    with ExitStack() as stack:
        pair = [stack.enter_context(closing(Process(listener))) for _ in range(2)]
        pair[0].others, pair[1].others = [pair[1]], [pair[0]]
        for process in pair:
            process.start()
        connected(stack, listener, 20)  # all at once
        await until(lambda: sum(len(process.connections) for process in pair) == 20)
        assert sorted(len(process.connections) for process in pair) == [10, 10]


@pytest.mark.anyio
async def test_the_one_with_fewer_gets_the_next(listener: socket.socket) -> None:
    with ExitStack() as stack:
        pair = [stack.enter_context(closing(Process(listener))) for _ in range(2)]
        pair[0].others, pair[1].others = [pair[1]], [pair[0]]
        pair[0].connections += [socket.socket() for _ in range(6)]
        for process in pair:
            process.start()
        connected(stack, listener, 6)
        await until(lambda: sum(len(process.connections) for process in pair) == 12)
        assert [len(process.connections) for process in pair] == [6, 6]


@pytest.mark.anyio
async def test_nobody_waits_for_a_worker_that_takes_none(listener: socket.socket) -> None:
    with ExitStack() as stack:
        busy = stack.enter_context(closing(Process(listener)))  # it never starts to accept
        other = stack.enter_context(closing(Process(listener)))
        other.others = [busy]
        other.start()
        connected(stack, listener, 3)
        await until(lambda: len(other.connections) == 3)
    assert MOST_DEFERRALS > 0


@pytest.mark.anyio
async def test_after_its_end_it_takes_none(listener: socket.socket) -> None:
    with ExitStack() as stack:
        ended = stack.enter_context(closing(Process(listener)))
        other = stack.enter_context(closing(Process(listener)))
        ended.start()
        other.start()
        assert ended.acceptor is not None
        ended.acceptor.close()
        connected(stack, listener, 4)
        await until(lambda: len(other.connections) == 4)
        assert not ended.connections


def test_the_shared_memory_knows_the_connections_of_others() -> None:
    ours = Shared.create(2)
    theirs = Shared(ours.fd)
    stride = ours._stride  # pyright: ignore[reportPrivateUsage]
    own, other = (
        Slot(ours.fd, ours._start(n), stride)  # pyright: ignore[reportPrivateUsage]
        for n in range(2)
    )
    ours._own, theirs._own = 0, 1  # pyright: ignore[reportPrivateUsage]
    own.ready(time.monotonic())
    own.connections(7)
    assert ours.fewest_connections_of_others() is None  # the other one still starts
    assert theirs.fewest_connections_of_others() == 7
    other.ready(time.monotonic())
    other.connections(3)
    assert ours.fewest_connections_of_others() == 3
    other.beat(time.monotonic() - 60)  # it hangs, or is dead
    assert ours.fewest_connections_of_others() is None
