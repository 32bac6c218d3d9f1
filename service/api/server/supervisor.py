"""The parent process of `quincunx serve`: it starts workers, replaces them, and ends them in time.

    start -> worker is ready -> worker dies -> the next one starts
          -> worker cannot start -> a few more tries -> the server ends with one line and exit code

A worker writes signs of life into the shared memory. A worker without a sign of life for a while
hangs or was stopped: it is killed and replaced.
"""

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from service.api.server.shared_memory import Shared
from service.errors import ServerError, StartFailed, UsageError

logger = logging.getLogger("quincunx.server")

TRIES = 3
"""The server ends after this many failed starts in a row."""
LONGEST_PAUSE_S = 30.0
"""Pauses between two tries while other workers serve."""
TICK_S = 0.2
LATE_S = 5.0
"""If this process was stopped for this long, the workers were stopped too, so their silence counts
from now."""
END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


@dataclass(eq=False)
class _Worker:
    index: int
    process: "subprocess.Popen[bytes]"
    ready: bool = False
    warned: bool = False


class Supervisor:
    """Keeps a number of workers running until it is told to end."""

    def __init__(
        self,
        start: Callable[[int], "subprocess.Popen[bytes]"],
        workers: int,
        shared: Shared,
        *,
        silence_s: float,
        stop_s: float,
        on_ready: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        """`start` starts the worker with a number from 1 to `workers`.

        A worker without a sign of life for `silence_s` is replaced (0: never). After a signal to
        end, workers have `stop_s` before they are killed. `on_ready` is called once, when all
        workers serve. `on_end` is called once, when no further worker will be started.
        """
        self._start = start
        self._wanted = workers
        self._shared = shared
        self._silence_s = silence_s
        self._stop_s = stop_s
        self._on_ready = on_ready
        self._on_end = on_end
        self._workers: list[_Worker] = []
        self._complete = False
        """Whether there was a moment when all workers served."""
        self._failures = 0
        """Failed starts since the last worker became ready."""
        self._next_start_s = 0.0
        self._last_tick_s = self._awake_s = time.monotonic()
        self._end_by_s: float | None = None
        self._killed = 0
        self._error: Exception | None = None
        self._signals: list[int] = []

    def run(self) -> None:
        """Supervise until SIGTERM, SIGINT or SIGQUIT. Call from the main thread.

        SIGHUP reloads the models in all workers.

        Raises:
            StartFailed, UsageError: workers cannot start; the message is their reason.
            ServerError: a worker did not end in time and was killed.
        """
        try:
            with _wake_ups(self._signals) as wake_up:
                self._supervise(wake_up)
        finally:
            for worker in self._workers:  # only after a bug in this class
                worker.process.kill()
        if self._error is not None:
            raise self._error
        if self._killed:
            raise ServerError(
                f"{self._killed} of the workers did not end within {self._stop_s:.0f} s of the "
                "signal and were killed"
            )

    def _supervise(self, wake_up: int) -> None:
        terminal = os.isatty(2)
        while True:
            self._obey(terminal)
            self._reap()
            if self._end_by_s is None:
                self._spawn()
                self._look_at_all()
            elif not self._workers:
                return
            elif time.monotonic() > self._end_by_s:
                self._kill_all()
            _wait(wake_up, TICK_S)

    def _obey(self, terminal: bool) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP and not (terminal and not os.isatty(2)):
                logger.info("SIGHUP: all workers reload the models")
                self._shared.announce()
            elif self._end_by_s is None:
                logger.info("the server ends", extra={"fields": {"signal": _name(number)}})
                self._end()
            elif number == signal.SIGINT:  # Ctrl-C again
                self._kill_all()

    def _spawn(self) -> None:
        while len(self._workers) < self._wanted and time.monotonic() >= self._next_start_s:
            taken = {worker.index for worker in self._workers}
            index = next(i for i in range(1, self._wanted + 1) if i not in taken)
            try:
                process = self._start(index)
            except OSError as error:  # no memory, too many processes
                self._failed(f"no process can be started: {error}", 0)
                return
            self._workers.append(_Worker(index, process))

    def _reap(self) -> None:
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            self._workers.remove(worker)
            if self._end_by_s is not None:
                continue
            status = self._shared.status(worker.process.pid)
            how = f"ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
            if worker.ready:
                logger.error("worker %d %s; another one starts", worker.process.pid, how)
            elif status is not None and status.reason:
                self._failed(status.reason, status.exit_code)
            else:
                self._failed(f"a worker {how} while it started", 0)

    def _failed(self, reason: str, exit_code: int) -> None:
        """Handle a failed start. If `exit_code` is not 0, another try would not help."""
        self._failures += 1
        serving = self._complete and any(worker.ready for worker in self._workers)
        tries_left = not exit_code and self._failures < TRIES
        if serving or tries_left:
            pause_s = min(LONGEST_PAUSE_S, 2.0**self._failures) if serving else 0.0
            self._next_start_s = time.monotonic() + pause_s
            logger.error("a worker cannot start; the next try is in %.0f s: %s", pause_s, reason)
            return
        times = "" if self._failures == 1 else f"{self._failures} times in a row: "
        text = f"no worker can start: {times}{reason}"
        self._error = UsageError(text) if exit_code == 2 else StartFailed(text)
        self._end()

    def _look_at_all(self) -> None:
        now = time.monotonic()
        if now - self._last_tick_s > LATE_S:
            self._awake_s = now
        self._last_tick_s = now
        for worker in self._workers:
            status = self._shared.status(worker.process.pid)
            if status is None or status.state != "ready":
                continue
            if not worker.ready:
                worker.ready = True
                self._failures = 0
            if self._silence_s:
                self._check_life(worker, now - max(status.beat_s, self._awake_s))
        everybody = [worker for worker in self._workers if worker.ready]
        if not self._complete and len(everybody) == self._wanted:
            self._complete = True
            self._on_ready()

    def _check_life(self, worker: _Worker, silent_s: float) -> None:
        pid = worker.process.pid
        if silent_s > self._silence_s:
            logger.error(
                "worker %d has shown no sign of life for %.0f s and is killed "
                "(QUINCUNX_WORKER_SILENCE_MS)",
                pid,
                silent_s,
            )
            worker.process.kill()
        elif silent_s > self._silence_s / 3 and not worker.warned:
            worker.warned = True
            logger.warning("worker %d has shown no sign of life for %.0f s", pid, silent_s)
        elif silent_s <= self._silence_s / 3:
            worker.warned = False

    def _end(self) -> None:
        self._end_by_s = time.monotonic() + self._stop_s
        self._on_end()
        for worker in self._workers:
            worker.process.terminate()

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
            self._killed += 1


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def _wake_ups(signals: list[int]) -> Generator[int]:
    """A file descriptor that can be read after each signal; those to obey are put in `signals`."""

    def note(number: int, _: FrameType | None) -> None:
        signals.append(number)

    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Only wake up."""

    receive, send = os.pipe()
    os.set_blocking(receive, False)
    os.set_blocking(send, False)
    before = {number: signal.signal(number, note) for number in (*END_SIGNALS, signal.SIGHUP)}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, ignore)
    old = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    try:
        yield receive
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(receive)
        os.close(send)


def _wait(wake_up: int, limit_s: float) -> None:
    if select.select([wake_up], [], [], limit_s)[0]:
        os.read(wake_up, 4096)
