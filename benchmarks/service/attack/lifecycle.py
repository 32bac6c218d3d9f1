"""Attacks on the server's processes and packages: reloads, kills, stops and its end, under load.

Each function serves the package in its own way, attacks it, and returns what held.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.processes import STOP_S
from benchmarks.service.attack.fresh_load import FreshLoad, post
from benchmarks.service.report import Verdict
from benchmarks.service.server import Server, serving
from service.package.package import MANIFEST

ADMIN = {"X-API-Key": "attack"}
RELOADS = 20
GROWTH = 0.1
REPLACED_S = 60.0
SETTLED_S = 1.5
"""Freed memory has gone back to the system by then."""


@dataclass(frozen=True)
class Attack:
    """What every scenario is given."""

    package: Path
    image: bytes
    folder: Path
    """For copies and logs; emptied by nobody."""
    precision: str = "auto"


Scenario = Callable[[Attack], list[Verdict]]


def reloads(attack: Attack) -> list[Verdict]:
    """20 reloads of two versions in turn, under load and two at a time."""
    copy, versions = _two_versions(attack)
    failed: list[int] = []
    memory: list[float] = []
    log = attack.folder / "reloads.log"
    with (
        serving(copy, attack.precision, log, admin_keys="attack") as server,
        FreshLoad(server.url, attack.image) as load,
    ):
        load.wait_for(20)
        for number in range(RELOADS):
            (copy / MANIFEST).write_text(versions[number % 2])
            both = [threading.Thread(target=_reload, args=(server, failed)) for _ in range(2)]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()
            load.wait_for(10)
            time.sleep(SETTLED_S)
            memory.append(server.rss_mb())
    named = {json.loads(text)["version"] for text in versions}
    answered = {model.rpartition("@")[2] for model in load.models}
    first, last = min(memory[3:8]), min(memory[-5:])
    return [
        all_answered(load),
        Verdict("every reload succeeds", f"{len(failed)} failed", not failed),
        Verdict("answers name the versions that were served", f"{answered}", answered <= named),
        Verdict(
            f"memory after {RELOADS} reloads within {GROWTH:.0%} of that after the first few",
            f"{first:.0f} → {last:.0f} MB",
            last <= first * (1 + GROWTH),
        ),
    ]


def broken_packages(attack: Attack) -> list[Verdict]:
    """The package is altered, cut, and deleted while it serves; each time a reload is asked for."""
    copy, versions = _two_versions(attack)
    graph = next(copy.glob("*.onnx"))
    content, verdicts = graph.read_bytes(), list[Verdict]()

    def attempt(what: str, server: Server) -> None:
        status, answer = post(server.url, "/models/reload", headers=ADMIN)
        error = answer.get("error", {})
        message = str(error["message"] if isinstance(error, dict) else error)
        verdicts.append(
            Verdict(
                f"a reload of a package {what} is refused with the reason",
                f"{status}: {message[:120]}",
                status == 500 and str(copy) in message,
            )
        )

    log = attack.folder / "broken.log"
    with (
        serving(copy, attack.precision, log, admin_keys="attack") as server,
        FreshLoad(server.url, attack.image, users=2) as load,
    ):
        load.wait_for(5)
        graph.write_bytes(content[:-1])
        attempt("whose graph is cut", server)
        graph.write_bytes(content)
        (copy / MANIFEST).write_text(versions[0][:-50])
        attempt("whose manifest is cut", server)
        shutil.rmtree(copy)
        attempt("that is deleted", server)
        load.wait_for(5)
    return [*verdicts, all_answered(load)]


def killed(attack: Attack) -> list[Verdict]:
    """SIGKILL of one worker of two under load, three times."""
    return _without_a_worker(attack, signal.SIGKILL, times=3)


def stopped(attack: Attack) -> list[Verdict]:
    """SIGSTOP of one worker of two under load."""
    return _without_a_worker(attack, signal.SIGSTOP, times=1)


def _without_a_worker(attack: Attack, number: signal.Signals, times: int) -> list[Verdict]:
    users = 8
    log = attack.folder / f"{number.name}.log"
    counted: list[int] = []
    with serving(
        attack.package, attack.precision, log, workers=2, worker_silence_ms="10000"
    ) as server:
        with FreshLoad(server.url, attack.image, users) as load:
            for time_number in range(times):
                until_serving(server, starts=2 + time_number)
                load.wait_for(20)
                counted.append(sum(server.statuses().values()))
                gone = _workers(server)[0]
                gone.send_signal(number)
                load.wait_for(20)
                gone.wait(REPLACED_S)
        until_serving(server, starts=2 + times)
        counted.append(sum(server.statuses().values()))
        gauges = _gauges(server)
    return [
        Verdict("the other worker answers", f"{dict(load.statuses)}", set(load.statuses) == {200}),
        Verdict(
            "no more connections break than there are users, each time",
            f"{load.broken} of {times} × {users}",
            load.broken <= times * users,
        ),
        Verdict("gauges are 0 when it idles", f"{gauges}", not any(gauges.values())),
        Verdict("counters never fall", f"{counted}", counted == sorted(counted)),
    ]


def ended(attack: Attack) -> list[Verdict]:
    """SIGTERM with requests in flight."""
    log = attack.folder / "ended.log"
    with serving(attack.package, attack.precision, log, workers=2) as server:
        until_serving(server, starts=2)
        pid = server.process.pid
        with FreshLoad(server.url, attack.image, users=16) as load:
            load.wait_for(20)
            os.kill(pid, signal.SIGTERM)
            started = time.monotonic()
            code = server.process.wait(STOP_S)
            took_s = time.monotonic() - started
    bad = {status: n for status, n in load.statuses.items() if status not in (200, 503)}
    return [
        Verdict("what was admitted is answered", f"{dict(load.statuses)}", not bad),
        Verdict("it exits with 0, soon", f"{code} after {took_s:.1f} s", code == 0),
    ]


def orphaned(attack: Attack) -> list[Verdict]:
    """SIGKILL of the supervisor."""
    log = attack.folder / "orphaned.log"
    with serving(attack.package, attack.precision, log, workers=2) as server:
        until_serving(server, starts=2)
        children = _workers(server)
        server.process.kill()
        _, alive = psutil.wait_procs(children, timeout=STOP_S)
    return [Verdict("its workers end too", f"{len(alive)} are left", not alive)]


SCENARIOS: tuple[Scenario, ...] = (reloads, broken_packages, killed, stopped, ended, orphaned)


def _two_versions(attack: Attack) -> tuple[Path, tuple[str, str]]:
    """A copy of the package, and two manifests for it that differ in their version."""
    copy = attack.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(attack.package, copy)
    first = (copy / MANIFEST).read_text()
    second = json.dumps({**json.loads(first), "version": "99999"})
    return copy, (first, second)


def _reload(server: Server, failed: list[int]) -> None:
    status, _ = post(server.url, "/models/reload", headers=ADMIN)
    if status != 200:
        failed.append(status)


def all_answered(load: FreshLoad) -> Verdict:
    good = set(load.statuses) == {200} and not load.broken
    return Verdict(
        "no request fails",
        f"by status {dict(load.statuses)}, {load.broken} broken; slowest {load.slowest_s:.1f} s",
        good,
    )


def _workers(server: Server) -> list[psutil.Process]:
    return server.process.children()


def until_serving(server: Server, starts: int) -> None:
    """Wait until so many workers have started since the server did, dead ones included."""
    deadline = time.monotonic() + REPLACED_S
    while server.log.read_text(errors="replace").count("Completed async startup hook") < starts:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a worker does not start; see {server.log}")
        time.sleep(0.1)


def _gauges(server: Server) -> dict[str, float]:
    lines = httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines]
    names = ("quincunx_waiting_views", "quincunx_held_bytes")
    return {name: float(value) for name, value in pairs if name.startswith(names)}
