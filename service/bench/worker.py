"""One client process: sends its share of the requests when they are due, and notes the times."""

import asyncio
import selectors
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import aiohttp
import numpy as np

from service.bench.arrivals import Schedule
from service.bench.records import ANSWERED, FAILED, REFUSED, Records

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
    """An instant of `time.monotonic`, which all processes of a machine share."""
    seconds: float
    users: int | None
    """None for an open loop; else so many users of this worker go round the schedule, each sending
    its next request when it has its answer."""


@dataclass(frozen=True)
class Done:
    """A worker's share of a step."""

    records: Records
    cpu: float
    """Share of one core that the worker used."""


def work(pipe: Connection, target: Target) -> None:
    """Serve steps from `pipe` until it sends None: the main function of a worker process."""
    # epoll wakes at whole milliseconds, select at microseconds: requests leave when they are due.
    selector = selectors.SelectSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(_serve(pipe, target))


async def _serve(pipe: Connection, target: Target) -> None:
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=target.connections)
    timeout = aiohttp.ClientTimeout(total=target.timeout_s)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=target.headers
    ) as session:
        pipe.send(READY)
        while (step := await loop.run_in_executor(None, pipe.recv)) is not None:
            pipe.send(await _Sender(session, target, step).run())


class _Sender:
    """Sends one step's requests."""

    def __init__(self, session: aiohttp.ClientSession, target: Target, step: Step) -> None:
        self._session = session
        self._target = target
        self._step = step
        self._in_flight = 0
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
            for _, mode, image in requests:  # shared: each takes the next one
                now_s = self._now_s()
                if now_s >= self._step.seconds:
                    return
                await self._send(now_s, mode, image)

        async with asyncio.TaskGroup() as group:
            for _ in range(users):
                group.create_task(user())

    def _requests(self) -> Iterator[tuple[float, int, int]]:
        """The schedule; a closed loop goes round it until its time is up."""
        plan = self._step.schedule
        rows = list(zip(plan.due_s.tolist(), plan.mode.tolist(), plan.image.tolist(), strict=True))
        yield from rows
        while self._step.users is not None and rows:
            yield from rows

    async def _send(self, due_s: float, mode: int, image: int) -> None:
        target = self._target
        waited = self._in_flight >= target.connections
        self._in_flight += 1
        sent_s = self._now_s()
        try:
            async with self._session.post(
                target.urls[mode],
                data=target.bodies[image],
                headers={"Content-Type": target.content_types[image]},
            ) as response:
                await response.read()
                status = response.status if response.status in (ANSWERED, REFUSED) else FAILED
        except (aiohttp.ClientError, TimeoutError, OSError):
            status = FAILED
        self._in_flight -= 1
        self._rows.append((due_s, sent_s, self._now_s(), status, mode, waited))

    def _now_s(self) -> float:
        return time.monotonic() - self._step.start

    async def _until(self, instant_s: float) -> None:
        # Also where it is too late to wait: sends that were started must get their turn.
        await asyncio.sleep(max(0.0, instant_s - self._now_s()))
