"""A real server whose workers, folders and supervisor are taken away from it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.ports import free_port
from benchmarks.service.attack.fresh_load import FreshLoad
from tests.support.images import coloured, encoded
from tests.support.server import Server, serving, stop
from tests.support.tiny import tiny_package

RED = encoded(coloured("red"))
LIMIT_S = 90
SENT = 50
"""Bytes of a body that are sent before something happens."""
WAITING = 'quincunx_waiting_views{model="tiny"}'
COUNTED = 'quincunx_requests_total{route="/classify",status="200"}'


def until(true: Callable[[], bool], server: Server) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, server.log.read_text()[-3000:]
        time.sleep(0.05)


def workers(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def ask(server: Server, path: str = "/classify?tta=five_crop") -> httpx.Response:
    """On a connection of its own, so that any worker may take it."""
    return httpx.post(f"{server.url}{path}", files={"image": RED}, timeout=30)


def metrics(server: Server) -> dict[str, float]:
    lines = httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def begin(server: Server, body: bytes = RED) -> socket.socket:
    """A request to /classify of which only a part has been sent; `end` sends the rest."""
    host, port = server.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=LIMIT_S)
    head = (
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode() + body[:SENT])
    return client


def end(client: socket.socket, body: bytes = RED) -> bytes:
    client.sendall(body[SENT:])
    answer = b""
    while part := client.recv(65536):
        answer += part
    return answer


@contextmanager
def load(server: Server, users: int = 4) -> Generator[FreshLoad]:
    """Requests on fresh connections until the block ends. It begins after `users` answers."""
    with FreshLoad(server.url, RED, users, "/classify?tta=five_crop") as asking:
        asking.wait_for(users, LIMIT_S)
        yield asking


@pytest.fixture(name="temporary", scope="module")
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[Server]:
    """A server of two workers whose home and folder for temporary files are `temporary`."""
    folder = tmp_path_factory.mktemp("pair")
    package = tiny_package(folder / "tiny", int8=False)
    places = {"TMPDIR": str(temporary), "HOME": str(temporary), "BENTOML_HOME": None}
    with serving(
        [package], folder, workers=2, environment=places, worker_silence_ms="5000"
    ) as server:
        until(lambda: "quincunx: serving" in server.log.read_text(), server)
        yield server


def test_it_says_that_it_serves_once_all_workers_do(pair: Server) -> None:
    assert pair.log.read_text().count("quincunx: serving tiny@1 on http://127.0.0.1:") == 1
    until(lambda: pair.log.read_text().count("serving tiny@1 (fp32, cpu)") == 2, pair)


def test_the_server_needs_no_folder_that_can_be_cleaned_away(pair: Server, temporary: Path) -> None:
    """Nor can such a folder be full: later tests replace workers without it."""
    assert ask(pair).status_code == 200
    assert metrics(pair)[COUNTED] > 0
    assert not list(temporary.iterdir())
    temporary.rmdir()


def test_a_killed_worker_is_replaced_and_only_its_counters_stay(pair: Server) -> None:
    killed = workers(pair)[0]
    with load(pair) as asking:
        before = metrics(pair)[COUNTED]
        killed.send_signal(signal.SIGKILL)
        asking.wait_for(20, LIMIT_S)
    until(lambda: len(workers(pair)) == 2 and killed not in workers(pair), pair)
    assert set(asking.statuses) == {200}
    after = metrics(pair)
    assert after[WAITING] == 0
    assert after["quincunx_held_bytes"] == 0
    assert before < after[COUNTED] <= before + asking.answered + asking.broken
    assert "ended by SIGKILL; another one starts" in pair.log.read_text()


def test_a_stopped_worker_is_replaced_and_the_other_answers_meanwhile(pair: Server) -> None:
    until(lambda: pair.log.read_text().count("serving tiny@1 (fp32, cpu)") >= 3, pair)
    stopped = workers(pair)[0]
    with load(pair, users=2) as asking:
        stopped.send_signal(signal.SIGSTOP)
        answered = asking.answered
        until(lambda: "has shown no sign of life" in pair.log.read_text(), pair)
        until(lambda: asking.answered > answered, pair)
        until(lambda: stopped not in workers(pair) and len(workers(pair)) == 2, pair)
    assert set(asking.statuses) == {200}
    until(lambda: metrics(pair)[WAITING] == 0, pair)


def test_counters_never_fall(pair: Server) -> None:
    """Both workers were replaced by now: whichever answers has the sums of all of them."""
    counted = [metrics(pair)[COUNTED] for _ in range(10)]
    assert counted == sorted(counted)


def test_connections_are_spread_over_the_workers(pair: Server) -> None:
    loaded = "serving tiny@1 (fp32, cpu)"
    until(lambda: pair.log.read_text().count(loaded) >= 4, pair)  # both were replaced by now

    def spread() -> list[int]:
        found = [process.net_connections("tcp") for process in workers(pair)]
        return sorted(sum(c.status == psutil.CONN_ESTABLISHED for c in each) for each in found)

    until(lambda: spread() == [0, 0], pair)
    with ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(httpx.Client(base_url=pair.url, timeout=30))
            assert client.get("/livez").status_code == 200
        assert min(spread()) >= 2  # on a busy machine a worker may be late for its turn


def test_sighup_reloads_all_workers(pair: Server) -> None:
    loaded = pair.log.read_text().count('serving tiny@1 (fp32, cpu)"')
    pair.process.send_signal(signal.SIGHUP)
    until(lambda: pair.log.read_text().count('serving tiny@1 (fp32, cpu)"') >= loaded + 2, pair)
    assert ask(pair).status_code == 200
    assert pair.process.poll() is None


def test_sigterm_answers_what_is_on_its_way_and_exits_with_0(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "tiny", int8=False)
    with serving([package], tmp_path, request_timeout_ms="60000") as server:
        children = workers(server)
        with ExitStack() as stack:
            clients = [stack.enter_context(begin(server)) for _ in range(5)]
            until(lambda: metrics(server)["quincunx_held_bytes"] >= 5 * SENT, server)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: "draining" in server.log.read_text(), server)
            for client in clients:
                answer = end(client)
                assert answer.startswith(b"HTTP/1.1 200"), answer
                assert b'"tiny@1"' in answer
            assert stop(server) == 0
        psutil.wait_procs(children, timeout=LIMIT_S)
        assert not any(child.is_running() for child in children)


def test_sigterm_ends_in_bounded_time_though_a_client_never_sends_its_body(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "tiny", int8=False)
    with (
        serving([package], tmp_path, request_timeout_ms="1000") as server,
        begin(server) as client,
        socket.create_connection(client.getpeername()),
    ):
        assert stop(server) == 0


def test_workers_end_where_their_supervisor_was_killed(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "tiny", int8=False)
    with serving([package], tmp_path) as server:
        children = workers(server)
        server.process.kill()
        server.process.wait()
        gone, alive = psutil.wait_procs(children, timeout=LIMIT_S)
        assert gone
        assert not alive
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/livez", timeout=5)


def test_a_worker_that_cannot_start_ends_the_server_with_one_line(
    tmp_path: Path, package: Path
) -> None:
    """What only a worker finds out: here that BentoML cannot read its configuration."""
    broken = tmp_path / "bentoml.yaml"
    broken.write_text("services: [not, a, mapping]\n")
    command = [sys.executable, "-m", "service.cli", "serve", str(package)]
    done = subprocess.run(
        [*command, "--port", str(free_port())],
        env=os.environ | {"BENTOML_CONFIG": str(broken)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("quincunx: error: no worker can start: ")
    assert "serving" not in done.stderr


def test_no_module_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    """`onnx` is imported late, for the first exact crops of an image."""
    package = tiny_package(tmp_path / "tiny", int8=False)
    for name in ("onnx", "uvicorn", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the current folder')\n")
    port = free_port()
    log = tmp_path / "server.log"
    script = Path(sys.executable).with_name("quincunx")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [script, "serve", package, "--port", str(port), "--provider", "cpu"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        until(lambda: process.poll() is not None or "quincunx: serving" in log.read_text(), server)
        assert ask(server).status_code == 200
    finally:
        stop(server)
    assert "from the current folder" not in log.read_text()
