"""Attacks on a server: whether it withstands them, and what its other clients notice."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.service.attack.attackers import ATTACKS, Attack
from benchmarks.service.attack.bodies import bombs
from benchmarks.service.attack.target import Bystanders, Seen, Target, queries
from benchmarks.service.malformed_cases import ADMIN_KEY
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Memory, Server, serving
from service.bench.photos import Photos
from service.bench.report.tables import ReportTable, ms
from service.package.package import ModelPackage

POD_MB = 2048
"""The memory of the pod in deploy/kubernetes."""
LIVEZ_S = 1.0
"""How long Kubernetes waits for a probe, by default."""
STOP_S = 30.0
SETTLE_S = 2.0


@dataclass(frozen=True)
class Attacked:
    """One attack, and what other clients saw during it."""

    name: str
    sent: int
    seen: Seen
    most_mb: float

    def row(self) -> tuple[str, ...]:
        livez = self.seen.livez_s
        p50, p99 = (float(np.percentile(livez, percent)) * 1e3 for percent in (50, 99))
        counts = (self.sent, self.seen.answered, self.seen.refused, self.seen.failed)
        times = (ms(p50), ms(p99), ms(max(livez) * 1e3))
        return self.name, *map(str, counts), *times, f"{self.most_mb:.0f}"


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *, precision: str, seconds: float
) -> bool:
    """Start a server on the loopback address, run each attack for `seconds`, and judge."""
    log = logs / "attack.log"
    with serving(package.folder, precision, log, admin_keys=ADMIN_KEY) as server:
        port = urlsplit(server.url).port or 0
        target = Target(port, package.manifest.name, photos.files[0], ADMIN_KEY)
        _, expected = next(iter(queries(target).values()))()
        bombs(target)  # packed now, because packing takes time that the attack should have
        processes = {process.pid for process in server.tree()}
        started_mb = server.rss_mb()
        attacked = [
            _attack(name, attack, server, target, expected, seconds)
            for name, attack in ATTACKS.items()
        ]
        time.sleep(SETTLE_S)
        settled_mb = server.rss_mb()
        alive = {process.pid for process in server.tree()} == processes
        right = [np.allclose(query()[1], expected, 0, 1e-5) for query in queries(target).values()]
        stop_s = _stop(server)
    tracebacks = log.read_text(errors="replace").count("Traceback")
    return write(
        out,
        "attack",
        package,
        [
            f"{precision}; each attack for {seconds:g} s, on the machine that also serves",
            "well-formed requests ask for one photo in five_crop over /classify and /v2, ten times "
            "a second each; refused: with 429; failed: any other outcome, wrong answers too",
            f"memory: {started_mb:.0f} MB before, {settled_mb:.0f} MB after",
        ],
        _verdicts(attacked, alive, tracebacks, all(right), stop_s),
        [_table(attacked)],
        {"outcomes": {one.name: dict(one.seen.statuses) for one in attacked}},
    )


def _attack(
    name: str, attack: Attack, server: Server, target: Target, expected: list[float], seconds: float
) -> Attacked:
    print(f"attack: {name}", file=sys.stderr)
    with Memory(server, 0.1) as memory, Bystanders(target, expected) as seen:
        sent = attack(target, time.monotonic() + seconds)
    return Attacked(name, sent, seen, memory.most_mb)


def _stop(server: Server) -> float:
    """Seconds from SIGTERM to the end; STOP_S if the server does not end."""
    started = time.monotonic()
    server.process.terminate()
    while server.process.is_running() and server.process.status() != "zombie":
        if time.monotonic() - started > STOP_S:
            return STOP_S
        time.sleep(0.05)
    return time.monotonic() - started


def _verdicts(
    attacked: list[Attacked], alive: bool, tracebacks: int, right: bool, stop_s: float
) -> list[Verdict]:
    failed = sum(one.seen.failed for one in attacked)
    asked = sum(one.seen.statuses.total() for one in attacked)
    hungriest = max(attacked, key=lambda one: one.most_mb)
    slowest = max(attacked, key=lambda one: max(one.seen.livez_s))
    livez_s = max(slowest.seen.livez_s)
    return [
        Verdict(
            "no well-formed request fails but by a 429",
            f"{failed} of {asked}",
            not failed,
        ),
        Verdict(
            f"memory within the {POD_MB} MB of a pod",
            f"{hungriest.most_mb:.0f} MB ({hungriest.name})",
            hungriest.most_mb <= POD_MB,
        ),
        Verdict(
            f"/livez within {LIVEZ_S:g} s, always",
            f"{livez_s:.2f} s ({slowest.name})",
            livez_s <= LIVEZ_S,
        ),
        Verdict(
            "no crash: the same processes, no traceback in the log",
            f"{'the same' if alive else 'OTHERS'}; {tracebacks} tracebacks",
            alive and not tracebacks,
        ),
        Verdict("the same right answer afterwards", "the same" if right else "ANOTHER", right),
        Verdict(f"ends within {STOP_S:g} s of SIGTERM", f"{stop_s:.1f} s", stop_s < STOP_S),
    ]


def _table(attacked: list[Attacked]) -> ReportTable:
    return ReportTable(
        "What the others noticed",
        (
            *("attack", "sent", "answered", "refused", "failed"),
            *("livez p50 ms", "p99 ms", "most ms", "memory MB"),
        ),
        tuple(one.row() for one in attacked),
    )
