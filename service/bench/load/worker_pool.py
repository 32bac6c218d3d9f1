"""The client processes of a load test. They stay alive from step to step."""

import multiprocessing
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType

from service.bench.load.arrivals import Schedule
from service.bench.load.records import Records
from service.bench.load.worker import READY, Done, Step, Target, work
from service.errors import QuincunxError, UsageError

MAX_CONNECTIONS_PER_PROCESS = 500
"""`select` counts file descriptors up to 1024."""
LEAD_S = 0.2
"""Time between sending a step to the workers and its start, so that every worker has its share."""


class WorkerPool:
    """`processes` workers that share `target.connections` connections."""

    def __init__(self, target: Target, processes: int) -> None:
        if processes < 1 or target.connections < processes:
            raise UsageError(
                f"every process needs a connection, but got {processes} processes "
                f"and {target.connections} connections"
            )
        if target.connections > processes * MAX_CONNECTIONS_PER_PROCESS:
            raise UsageError(
                f"{target.connections} connections; the limit is {MAX_CONNECTIONS_PER_PROCESS} "
                "for each process (--processes)"
            )
        self._target = target
        self._count = processes
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> "WorkerPool":
        context = multiprocessing.get_context("spawn")
        for index in range(self._count):
            ours, theirs = context.Pipe()
            part = _part(self._target.connections, index, self._count)
            share = replace(self._target, connections=part)
            process = context.Process(target=work, args=(theirs, share), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))
        for _, pipe in self._workers:
            if self._receive(pipe) != READY:
                raise QuincunxError("a load worker did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process, pipe in self._workers:
            if kind is not None:
                process.terminate()
            else:
                pipe.send(None)
            pipe.close()
            process.join()

    def run(self, schedule: Schedule, seconds: float, users: int | None = None) -> Done:
        """Send a schedule. Returns every record, and the busiest worker's use of a core.

        Raises:
            UsageError: more users than connections.
        """
        if users is not None and users > self._target.connections:
            raise UsageError(
                f"{users} users; the limit is {self._target.connections} (--connections)"
            )
        start = time.monotonic() + LEAD_S
        for index, (_, pipe) in enumerate(self._workers):
            share = schedule.share(index, self._count)
            part = None if users is None else _part(users, index, self._count)
            pipe.send(Step(share, start, seconds, part))
        parts: list[Done] = []
        for _, pipe in self._workers:
            done = self._receive(pipe)
            if not isinstance(done, Done):
                raise QuincunxError("a load worker sent an unexpected message")
            parts.append(done)
        return Done(
            Records.joined([part.records for part in parts]), max(part.cpu for part in parts)
        )

    def _receive(self, pipe: Connection) -> object:
        try:
            return pipe.recv()
        except EOFError:
            raise QuincunxError("a load worker died; see its error above") from None


def _part(number: int, index: int, count: int) -> int:
    """The share of the worker `index` when `count` workers divide `number`."""
    return number // count + (index < number % count)
