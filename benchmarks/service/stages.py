"""Where the time of slow requests goes: stage times of single requests under an open loop."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import cast

import numpy as np

from service.bench.load.arrivals import due_times
from service.bench.load.connection import Connection, address_of, head
from service.bench.load.load import content_type
from service.bench.load.precise_timer import precise_loop
from service.bench.photos import Photos
from service.bench.report.statistics import percentile
from service.bench.report.tables import ms
from service.package.manifest import Mode

COLUMNS = (
    *("mode", "requests", "n", "latency", "sent late", "outside", "wait for a thread", "decode"),
    *("wait for a batch", "in batches", "finish", "two steps", "largest batch"),
)
EXPLAINED = (
    "stages: means in ms, of one more period at half of the capacity; sent late: the client waited "
    "for a core; outside: HTTP, and the client waiting for a core; wait for a thread: before "
    "decoding, between the stages, and for the event loop at the end; two steps: the share of "
    "images with a second pass; largest batch: views, mean"
)
SLOWEST = 99.0


@dataclass(frozen=True)
class StagedRequest:
    """One answered request: milliseconds in each stage."""

    late: float
    latency: float
    """From the instant it was due."""
    outside: float
    thread: float
    decode: float
    queue: float
    batches: float
    finish: float
    two_steps: bool
    largest_batch: int

    @classmethod
    def of(cls, due_s: float, sent_s: float, done_s: float, body: bytes) -> "StagedRequest":
        timing = json.loads(body)["timing_ms"]
        stages = {key: timing[key] for key in ("queue", "inference", "finish")}
        decode = timing["decode"] + timing["prepare"]
        late, latency = (sent_s - due_s) * 1e3, (done_s - due_s) * 1e3
        return cls(
            late=late,
            latency=latency,
            outside=latency - late - timing["total"],
            thread=timing["total"] - decode - sum(stages.values()),
            decode=decode,
            queue=stages["queue"],
            batches=stages["inference"],
            finish=stages["finish"],
            two_steps=len(timing["batch_views"]) > 1,
            largest_batch=max(timing["batch_views"]),
        )


class _Reading(Connection):
    """A connection that keeps the body of the last answer."""

    body = b""

    async def exchange(self, request: bytes) -> int:
        self.body = b""
        return await super().exchange(request)

    def on_body(self, data: bytes) -> None:
        """A callback of httptools."""
        self.body += data


def rows(
    url: str, photos: Photos, mode: Mode, rate: float, seconds: float
) -> list[tuple[str, ...]]:
    """Rows of `COLUMNS`: the mean of all requests, and of the slowest 1%."""
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        taken = runner.run(_ask(f"{url}?tta={mode}&include=timing", photos, rate, seconds))
    slow_ms = percentile(np.array([request.latency for request in taken]), SLOWEST)
    slowest = [request for request in taken if request.latency >= slow_ms]
    return [_row(mode, "all", taken), _row(mode, "slowest 1%", slowest)]


def _row(mode: Mode, name: str, taken: list[StagedRequest]) -> tuple[str, ...]:
    def mean(key: str) -> float:
        return float(np.mean([getattr(request, key) for request in taken]))

    times = ("latency", "late", "outside", "thread", "decode", "queue", "batches", "finish")
    return (
        *(mode, name, str(len(taken))),
        *(ms(mean(key)) for key in times),
        *(f"{mean('two_steps'):.0%}", f"{mean('largest_batch'):.1f}"),
    )


async def _ask(url: str, photos: Photos, rate: float, seconds: float) -> list[StagedRequest]:
    """Send Poisson arrivals. Raises SystemExit at an answer other than 200."""
    generator = np.random.default_rng(1)
    address = address_of(url)
    requests = [
        head(url, {"Content-Type": photos.content_type or content_type(data)}, len(data)) + data
        for data in photos.files
    ]
    idle: list[_Reading] = []
    taken: list[StagedRequest] = []
    start = time.monotonic()

    async def send(due_s: float, request: bytes) -> None:
        sent_s = time.monotonic() - start
        connection = idle.pop() if idle else cast(_Reading, await _Reading.to(address))
        status = await connection.exchange(request)
        done_s = time.monotonic() - start
        if status != 200:
            raise SystemExit(f"{url} answered {status}")
        taken.append(StagedRequest.of(due_s, sent_s, done_s, connection.body))
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for due_s in due_times("poisson", rate, seconds, generator).tolist():
            await asyncio.sleep(max(0.0, due_s - (time.monotonic() - start)))
            group.create_task(send(due_s, requests[generator.integers(len(requests))]))
    for connection in idle:
        connection.close()
    return taken
