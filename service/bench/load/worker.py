"""One client process: sends its share of the requests when they are due, and notes the times."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import numpy as np

from service.bench.load.arrivals import Schedule
from service.bench.load.connection import Connection as HttpConnection
from service.bench.load.connection import address_of, head
from service.bench.load.precise_timer import precise_loop
from service.bench.load.records import ANSWERED, FAILED, REFUSED, Records

READY = "ready"


@dataclass(frozen=True)
class Target:
    """Where and what to send."""

    urls: tuple[str, ...]
    """One per mode of the mix."""
    bodies: tuple[bytes, ...] = field(repr=False)
    content_types: tuple[str, ...]
    headers: dict[str, str] = field(repr=False)
    connections: int
    """Of this worker."""
    timeout_s: float


@dataclass(frozen=True)
class Step:
    """One step of load."""

    schedule: Schedule
    start: float
    """A time of `time.monotonic`, which is the same in all processes of a machine."""
    seconds: float
    users: int | None
    """None for an open loop. Otherwise the number of this worker's users; each repeats the schedule
    and sends its next request when it has its answer."""


@dataclass(frozen=True)
class Done:
    """A worker's share of a step."""

    records: Records
    cpu: float
    """Share of one core that the worker used."""


def work(pipe: Connection, target: Target) -> None:
    """Serve steps from `pipe` until it sends None: the main function of a worker process."""
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_serve(pipe, target))


async def _serve(pipe: Connection, target: Target) -> None:
    loop = asyncio.get_running_loop()
    pool = _Pool(target)
    pipe.send(READY)
    while (step := await loop.run_in_executor(None, pipe.recv)) is not None:
        pipe.send(await _Sender(pool, step).run())
    pool.close()


class _Pool:
    """The connections of one worker, and its requests, ready to send."""

    def __init__(self, target: Target) -> None:
        self._address = address_of(target.urls[0])
        self._bodies = target.bodies
        self._heads = [
            [
                head(url, {**target.headers, "Content-Type": kind}, len(body))
                for body, kind in zip(target.bodies, target.content_types, strict=True)
            ]
            for url in target.urls
        ]
        self._timeout_s = target.timeout_s
        self._limit = asyncio.Semaphore(target.connections)
        self._idle: list[HttpConnection] = []

    @property
    def taken(self) -> bool:
        """Whether every connection is busy."""
        return self._limit.locked()

    async def post(self, mode: int, image: int) -> int:
        """Send a request; returns the status.

        Raises:
            OSError: no server, or a broken connection.
            TimeoutError: not answered in time.
        """
        async with self._limit, asyncio.timeout(self._timeout_s):
            connection = await self._connection()
            try:
                return await connection.exchange(self._heads[mode][image] + self._bodies[image])
            except BaseException:
                connection.close()  # the rest of an answer may still arrive on it
                raise
            finally:
                if connection.open:
                    self._idle.append(connection)

    async def _connection(self) -> HttpConnection:
        while self._idle:
            if (connection := self._idle.pop()).open:
                return connection
        return await HttpConnection.to(self._address)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


class _Sender:
    """Sends one step's requests."""

    def __init__(self, pool: _Pool, step: Step) -> None:
        self._pool = pool
        self._step = step
        self._rows: list[tuple[float, float, float, int, int, bool]] = []

    async def run(self) -> Done:
        cpu = time.process_time()
        await self._until(0.0)
        users = self._step.users
        await (self._open() if users is None else self._closed(users))
        wall = time.monotonic() - self._step.start
        due, sent, done, status, mode, waited = (
            zip(*self._rows, strict=True) if self._rows else ((),) * 6
        )
        records = Records(
            np.array(due, np.float64),
            np.array(sent, np.float64),
            np.array(done, np.float64),
            np.array(status, np.int16),
            np.array(mode, np.int16),
            np.array(waited, np.bool_),
        )
        return Done(records, (time.process_time() - cpu) / wall)

    async def _open(self) -> None:
        async with asyncio.TaskGroup() as group:
            for due_s, mode, image in self._requests():
                await self._until(due_s)
                group.create_task(self._send(due_s, mode, image))

    async def _closed(self, users: int) -> None:
        requests = self._requests()

        async def user() -> None:
            for _, mode, image in requests:  # shared by the users: each takes the next one
                now_s = self._now_s()
                if now_s >= self._step.seconds:
                    return
                await self._send(now_s, mode, image)

        async with asyncio.TaskGroup() as group:
            for _ in range(users):
                group.create_task(user())

    def _requests(self) -> Iterator[tuple[float, int, int]]:
        """The schedule. A closed loop repeats it until its time is up."""
        plan = self._step.schedule
        rows = list(zip(plan.due_s.tolist(), plan.mode.tolist(), plan.image.tolist(), strict=True))
        yield from rows
        while self._step.users is not None and rows:
            yield from rows

    async def _send(self, due_s: float, mode: int, image: int) -> None:
        waited = self._pool.taken
        sent_s = self._now_s()
        try:
            status = await self._pool.post(mode, image)
        except OSError:  # TimeoutError is a subclass
            status = FAILED
        if status not in (ANSWERED, REFUSED):
            status = FAILED
        self._rows.append((due_s, sent_s, self._now_s(), status, mode, waited))

    def _now_s(self) -> float:
        return time.monotonic() - self._step.start

    async def _until(self, instant_s: float) -> None:
        # Yield even if it is too late to wait, so that started sends can run.
        await asyncio.sleep(max(0.0, instant_s - self._now_s()))
