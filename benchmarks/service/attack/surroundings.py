"""Attacks on what surrounds the server: its folders, disks, file descriptors and memory."""

import io
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from PIL import Image

from benchmarks.peers.roster import ROOT
from benchmarks.ports import free_port
from benchmarks.processes import STOP_S
from benchmarks.service.attack.fresh_load import FreshLoad
from benchmarks.service.attack.lifecycle import Attack, Scenario, all_answered, until_serving
from benchmarks.service.report import Verdict
from benchmarks.service.server import Server, serving

FILES = 64
FEW_MB = 300
START_LIMIT_S = 120.0


def cleaned_folders(attack: Attack) -> list[Verdict]:
    """Home, BENTOML_HOME and TMPDIR are removed while it serves, and a worker is killed then."""
    places = attack.folder / "places"
    places.mkdir(exist_ok=True)
    variables = {name: str(places) for name in ("TMPDIR", "HOME", "BENTOML_HOME")}
    log = attack.folder / "cleaned.log"
    with serving(attack.package, attack.precision, log, workers=2, variables=variables) as server:
        until_serving(server, starts=2)
        shutil.rmtree(places)
        with FreshLoad(server.url, attack.image, users=2) as load:
            load.wait_for(20)
        server.process.children()[0].kill()
        until_serving(server, starts=3)
    return [all_answered(load), Verdict("a worker starts without them", "it did", True)]


def full_log(attack: Attack) -> list[Verdict]:
    """The log is on a disk without room (/dev/full)."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "service.cli", "serve", str(attack.package.resolve())),
        *("--port", str(urlsplit(url).port), "--precision", attack.precision),
    ]
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(command, cwd=ROOT, stdout=full, stderr=full)  # noqa: S603
    try:
        with FreshLoad(url, attack.image, users=2) as load:
            load.wait_for(20, START_LIMIT_S)
            before = load.broken
            load.wait_for(20)
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_S)
    finally:
        process.kill()
    broken = load.broken - before
    good = set(load.statuses) == {200} and not broken
    return [
        Verdict("every request is answered", f"{dict(load.statuses)}, {broken} broken", good),
        Verdict("it ends with 0", f"{code}", code == 0),
    ]


def few_files(attack: Attack) -> list[Verdict]:
    """64 file descriptors and twice as many silent connections; then all of them leave."""
    log = attack.folder / "files.log"
    limits = {resource.RLIMIT_NOFILE: FILES}
    with serving(attack.package, attack.precision, log, limits=limits) as server:
        until_serving(server, starts=1)
        address = urlsplit(server.url)
        with ExitStack() as stack:
            for _ in range(2 * FILES):
                with suppress(OSError):
                    connection = socket.create_connection((address.hostname, address.port), 1)
                    stack.enter_context(connection)
            alive = bool(server.process.children())
        with FreshLoad(server.url, attack.image, users=2) as load:
            load.wait_for(20)
        with FreshLoad(server.url, attack.image, users=2) as after:
            after.wait_for(20)
    return [
        Verdict("the worker lives on", f"{alive}", alive),
        Verdict("it answers when they have left", f"{dict(load.statuses)}", 200 in load.statuses),
        all_answered(after),
    ]


def little_memory(attack: Attack) -> list[Verdict]:
    """An address space in which no model can be opened: the server ends, soon and with a reason."""
    log = attack.folder / "memory.log"
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "service.cli", "serve", str(attack.package.resolve()),
             "--port", str(free_port())],
            cwd=ROOT, stdout=stream, stderr=stream, preexec_fn=_limit_memory,
        )  # fmt: skip
        try:
            code = process.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = 0
    took_s = time.monotonic() - started
    lines = log.read_text(errors="replace").splitlines() or [""]
    return [
        Verdict(
            "the server ends with an exit code and says why",
            f"{code} after {took_s:.0f} s: {lines[-1][:150]}",
            code != 0 and "serving" not in lines[-1],
        )
    ]


def memory_taken_away(attack: Attack) -> list[Verdict]:
    """While it serves, no worker may have more memory than it has; then the limit is lifted."""
    log = attack.folder / "taken.log"
    huge = _huge_png()
    with serving(attack.package, attack.precision, log) as server:
        until_serving(server, starts=1)
        worker = server.process.children()[0]
        with FreshLoad(server.url, attack.image, users=2) as load:
            load.wait_for(10)
            _bound(server, worker.memory_info().vms)
            with FreshLoad(server.url, huge, users=2) as greedy:
                greedy.wait_for(4)
            load.wait_for(4)
            _bound(server, resource.RLIM_INFINITY)
        with FreshLoad(server.url, attack.image, users=2) as after:
            after.wait_for(20)
        same = server.process.children()[0].pid == worker.pid
    wrong = {status for status in greedy.statuses if status not in (200, 429, 503, 504, 500)}
    return [
        Verdict("no answer blames the sender", f"{dict(greedy.statuses)}", not wrong),
        Verdict("it answers all when there is memory again", f"{dict(after.statuses)}; "
                f"{'the same' if same else 'another'} worker", set(after.statuses) == {200}),
    ]  # fmt: skip


SCENARIOS: tuple[Scenario, ...] = (
    cleaned_folders, full_log, few_files, little_memory, memory_taken_away,
)  # fmt: skip


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (FEW_MB << 20, FEW_MB << 20))


def _bound(server: Server, most_bytes: int) -> None:
    for worker in server.process.children():
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (most_bytes, resource.RLIM_INFINITY))


def _huge_png() -> bytes:
    """45 megapixels of one colour, in a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (9000, 5000), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()
