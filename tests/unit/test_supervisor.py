"""The supervisor with stub workers: deaths, failed starts, silence, signals, and its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from service.api.server import supervisor as supervising
from service.api.server.shared_memory import Shared
from service.api.server.supervisor import Supervisor
from service.errors import ServerError, StartFailed, UsageError

LIMIT_S = 60
STUB = """
import os, signal, sys, time
from pathlib import Path
from service.api.server.shared_memory import Shared
shared, folder, index = Shared(int(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
slot = shared.claim()
with (folder / "starts").open("a") as file:
    file.write(f"{index} {os.getpid()}\\n")
"""
SERVE = """
token = shared.token
slot.ready(time.monotonic())
while not (folder / "hang").exists():
    slot.beat(time.monotonic())
    time.sleep(0.02)
    if shared.token != token:
        token = shared.token
        with (folder / "reloads").open("a") as file:
            file.write(f"{index}\\n")
time.sleep(600)
"""


class Server:
    """A supervisor of stub workers. Its `run` needs the main thread, so a test acts in another."""

    def __init__(self, folder: Path, worker: str, workers: int = 2, silence_s: float = 0) -> None:
        self.folder = folder
        self.shared = Shared.create(workers)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ready = 0
        self.ends: list[str] = []
        self.problem: BaseException | None = None
        self.script = folder / "worker.py"
        self.script.write_text(STUB + worker)
        self.supervisor = Supervisor(
            self._start,
            workers,
            self.shared,
            silence_s=silence_s,
            stop_s=5,
            on_ready=self._count_ready,
            on_end=lambda: self.ends.append("end"),
        )

    def run(self, act: Callable[[], None]) -> None:
        """Supervise, and `act` beside it; it ends with SIGTERM after `act`."""

        def do() -> None:
            try:
                act()
            except BaseException as error:
                self.problem = error
            os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=do)
        thread.start()
        try:
            self.supervisor.run()
        finally:
            thread.join()
            if self.problem is not None:
                raise self.problem

    @property
    def pids(self) -> list[int]:
        """Of every worker that was started and said so, in order."""
        return [int(line.split()[1]) for line in self._lines("starts")]

    def lines(self, name: str) -> list[str]:
        return sorted(self._lines(name))

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < deadline, (self._lines("starts"), self.ready)
            time.sleep(0.01)

    def until_serving(self, workers: int = 2) -> None:
        def serving() -> bool:
            statuses = [self.shared.status(pid) for pid in self.alive()]
            return sum(s is not None and s.state == "ready" for s in statuses) == workers

        self.until(lambda: self.ready > 0 and serving())

    def alive(self) -> list[int]:
        return [pid for pid in self.pids if psutil.pid_exists(pid)]

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def _count_ready(self) -> None:
        self.ready += 1

    def _start(self, index: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, self.script, str(self.shared.fd), self.folder, str(index)],
            pass_fds=(self.shared.fd,),
            start_new_session=True,
        )
        self.processes.append(process)
        return process


@pytest.fixture(name="serve")
def _serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    # A supervisor that has ended leaves the signal that was for it to this process.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    made: list[Server] = []

    def serve(*arguments: str, **options: float) -> Server:
        made.append(Server(tmp_path, *arguments, **options))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield serve
    for server in made:
        for process in server.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
        os.close(server.shared.fd)
    signal.signal(signal.SIGTERM, before)


def test_it_starts_workers_and_ends_them_with_it(serve: Callable[..., Server]) -> None:
    server = serve(SERVE)
    server.run(server.until_serving)
    assert (server.ready, server.ends) == (1, ["end"])
    assert not server.alive()


def test_a_killed_worker_is_replaced(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(SERVE)

    def act() -> None:
        server.until_serving()
        os.kill(server.pids[0], signal.SIGKILL)
        server.until(lambda: len(server.pids) == 3)
        server.until_serving()

    server.run(act)
    assert server.ready == 1  # the line that says "serving" is printed once
    assert "ended by SIGKILL; another one starts" in caplog.text
    assert sorted(line.split()[0] for line in server.lines("starts")) in (
        ["1", "1", "2"],
        ["1", "2", "2"],
    )


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ("sys.exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("slot.fail(0, 'MemoryError: so much'); sys.exit(3)", "MemoryError: so much"),
    ],
)
def test_workers_that_cannot_start_end_the_server_after_a_few_tries(
    serve: Callable[..., Server], worker: str, reason: str
) -> None:
    server = serve(worker, workers=1)
    with pytest.raises(StartFailed, match=reason) as caught:
        server.supervisor.run()
    assert len(server.pids) == supervising.TRIES
    assert "3 times in a row" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (server.ready, server.ends) == (0, ["end"])


@pytest.mark.parametrize(("code", "kind"), [(1, StartFailed), (2, UsageError)])
def test_what_another_try_would_not_mend_ends_the_server_at_once(
    serve: Callable[..., Server], code: int, kind: type[Exception]
) -> None:
    server = serve(f"slot.fail({code}, 'no fp16 model'); sys.exit({code})", workers=1)
    with pytest.raises(kind, match="no worker can start: no fp16 model"):
        server.supervisor.run()
    assert len(server.pids) == 1


def test_one_worker_of_two_that_cannot_start_ends_the_start(serve: Callable[..., Server]) -> None:
    server = serve("if index == '2': sys.exit(7)\n" + SERVE)
    with pytest.raises(StartFailed, match="exit code 7"):
        server.supervisor.run()
    assert not server.alive()


def test_a_replacement_that_cannot_start_leaves_the_other_worker_serving(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervising, "LONGEST_PAUSE_S", 0.05)
    server = serve("if (folder / 'broken').exists(): sys.exit(7)\n" + SERVE)

    def act() -> None:
        server.until_serving()
        (server.folder / "broken").touch()
        killed, other = server.pids
        os.kill(killed, signal.SIGKILL)
        server.until(lambda: len(server.pids) >= 2 + 2 * supervising.TRIES)
        assert psutil.pid_exists(other)
        (server.folder / "broken").unlink()
        server.until_serving()

    server.run(act)
    assert "a worker cannot start; the next try is in" in caplog.text


def test_a_last_worker_that_cannot_be_replaced_ends_the_server(
    serve: Callable[..., Server],
) -> None:
    server = serve("if (folder / 'broken').exists(): sys.exit(7)\n" + SERVE, workers=1)

    def act() -> None:
        server.until_serving(1)
        (server.folder / "broken").touch()
        os.kill(server.pids[0], signal.SIGKILL)
        server.until(lambda: len(server.pids) == 1 + supervising.TRIES)
        server.until(lambda: not server.alive())

    with pytest.raises(StartFailed, match="exit code 7"):
        server.run(act)


@pytest.mark.parametrize("how", ["stopped", "hanging"])
def test_a_worker_without_a_sign_of_life_is_killed_and_replaced(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture, how: str
) -> None:
    server = serve(SERVE, silence_s=2.0)

    def act() -> None:
        server.until_serving()
        if how == "stopped":
            os.kill(server.pids[0], signal.SIGSTOP)
        else:
            (server.folder / "hang").touch()
        server.until(lambda: "has shown no sign of life" in caplog.text)
        server.until(lambda: "and is killed" in caplog.text)
        (server.folder / "hang").unlink(missing_ok=True)
        server.until(lambda: len(server.pids) >= 3)
        server.until_serving()

    server.run(act)
    assert "QUINCUNX_WORKER_SILENCE_MS" in caplog.text


def test_a_supervisor_that_was_stopped_itself_gives_the_workers_their_time(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `docker pause`: all processes were stopped, and nobody is to blame."""
    server = serve(SERVE, silence_s=30)
    clock = time.monotonic
    late_s = 0.0
    monkeypatch.setattr(supervising.time, "monotonic", lambda: clock() + late_s)

    def act() -> None:
        nonlocal late_s
        server.until_serving()
        late_s = 1000.0
        server.until(lambda: server.supervisor._awake_s > clock() + 900)

    server.run(act)
    assert len(server.pids) == 2


def test_sighup_of_a_terminal_that_was_closed_ends_the_server(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [True]  # at the start; False from then on
    monkeypatch.setattr(os, "isatty", lambda _: answers.pop() if answers else False)
    server = serve(SERVE)

    def act() -> None:
        server.until_serving()
        os.kill(os.getpid(), signal.SIGHUP)
        server.until(lambda: not server.alive())

    server.run(act)
    assert not server.lines("reloads")


def test_sighup_is_a_reload_in_every_worker(serve: Callable[..., Server]) -> None:
    server = serve(SERVE)

    def act() -> None:
        server.until_serving()
        os.kill(os.getpid(), signal.SIGHUP)
        server.until(lambda: server.lines("reloads") == ["1", "2"])

    server.run(act)
    assert len(server.pids) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_signals_end_it_too(serve: Callable[..., Server], number: int) -> None:
    server = serve(SERVE)

    def act() -> None:
        server.until_serving()
        os.kill(os.getpid(), number)
        server.until(lambda: not server.alive())

    server.run(act)


def test_a_worker_that_does_not_end_is_killed_and_that_is_said(
    serve: Callable[..., Server],
) -> None:
    server = serve("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE, workers=1)
    server.supervisor._stop_s = 0.2
    with pytest.raises(ServerError, match="did not end within"):
        server.run(lambda: server.until_serving(1))
    assert not server.alive()


def test_a_signal_during_the_start_ends_it(serve: Callable[..., Server]) -> None:
    server = serve("time.sleep(600)")
    server.run(lambda: server.until(lambda: len(server.pids) == 2))
    assert not server.ready
    assert not server.alive()


def test_handlers_are_as_before(serve: Callable[..., Server]) -> None:
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD]
    before = [signal.getsignal(number) for number in numbers]
    server = serve(SERVE)
    server.run(server.until_serving)
    assert [signal.getsignal(number) for number in numbers] == before
