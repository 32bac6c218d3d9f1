"""Many requests: does memory grow, and does the server become slower than a fresh one?"""

import io
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.service import aging
from benchmarks.service.aging import Aging
from benchmarks.service.client import client
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Memory, grown, serving
from service.bench.photos import Photos
from service.bench.report.plots import svg
from service.bench.report.tables import ReportTable, ms
from service.inference.decode import decode
from service.package.manifest import Mode
from service.package.package import ModelPackage

SETTLED = 5000
FULL = 200_000
GROWTH = 0.05
"""Memory may grow by at most this share between `SETTLED` and `FULL` requests. In a shorter soak it
may grow by less, in proportion, so that the limit for each request stays the same."""
SLICE_S = 10.0
MINUTE_S = 60.0
SMALL_PX = 160


@dataclass
class Taken:
    """The measurements so far."""

    requests: int = 0
    unanswered: int = 0
    counts: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])
    """Seconds from the start, and requests answered by then."""
    done_s: list[np.ndarray] = field(default_factory=list[np.ndarray])
    latency_ms: list[np.ndarray] = field(default_factory=list[np.ndarray])
    cpu_s: list[float] = field(default_factory=lambda: [0.0])
    """The server's processor time since the start, beside `counts`."""


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    mode: Mode, precision: str, requests: int, users: int, processes: int, every_s: float = 2.0,
) -> bool:  # fmt: skip
    """Let `users` send requests until `requests` are answered."""
    allowed_growth(requests)  # too few are refused now, not after the measurement
    pictures = small(photos)
    taken = Taken()
    with (
        serving(package.folder, precision, logs / "soak.log") as server,
        client(server.classify_url, pictures, mode, processes=processes) as asking,
    ):
        counted, cpu_s = server.statuses(), server.cpu_s()
        with Memory(server, every_s) as memory:
            while taken.requests < requests:
                start_s = memory.now_s()
                run = asking.closed(users, SLICE_S, warm_up_s=0.0)
                answered = run.answered
                taken.requests += int(answered.sum())
                taken.unanswered += int((~answered).sum())
                taken.counts.append((memory.now_s(), taken.requests))
                taken.cpu_s.append(server.cpu_s() - cpu_s)
                taken.done_s.append(start_s + run.records.done_s[answered])
                taken.latency_ms.append(run.latency_ms)
                if not answered.any():
                    raise server.silent()
                print(f"{taken.requests} requests, {server.rss_mb():.1f} MB", file=sys.stderr)
        statuses = grown(server.statuses(), counted)
        with (
            serving(package.folder, precision, logs / "soak-fresh.log") as fresh,
            client(fresh.classify_url, pictures, mode, processes=processes) as asking_fresh,
        ):
            aged = aging.compare((server, asking), (fresh, asking_fresh), users)
    taken.unanswered += aged.unanswered
    return _write(package, pictures, out, taken, memory, statuses, aged, mode, precision, users)


def allowed_growth(requests: int) -> float:
    """The share by which memory may grow in a soak of `requests`.

    Raises:
        SystemExit: too few requests for memory to settle.
    """
    if requests <= SETTLED:
        raise SystemExit(f"a soak needs more than {SETTLED} requests, but got {requests}")
    return GROWTH * min(1.0, (requests - SETTLED) / (FULL - SETTLED))


def small(photos: Photos) -> Photos:
    """The photos, made small, because a soak tests the service and not decoding."""
    files: list[bytes] = []
    for data in photos.files:
        image = Image.fromarray(decode(data))
        image.thumbnail((SMALL_PX, SMALL_PX))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        files.append(buffer.getvalue())
    return Photos(tuple(files), f"{photos.description}, made {SMALL_PX} px and JPEG again")


def _write(
    package: ModelPackage, photos: Photos, out: Path, taken: Taken, memory: Memory,
    statuses: dict[int, int], aged: Aging, mode: Mode, precision: str, users: int,
) -> bool:  # fmt: skip
    at_s, rss = (np.array(column) for column in zip(*memory.samples, strict=True))
    count_s, counts = (np.array(column) for column in zip(*taken.counts, strict=True))
    done = np.interp(at_s, count_s, counts)
    settled = rss[np.argmax(done >= SETTLED)] if (done >= SETTLED).any() else rss[0]
    growth, allowed = float(rss[-1] / settled - 1), allowed_growth(taken.requests)
    finished, latency = np.concatenate(taken.done_s), np.concatenate(taken.latency_ms)
    first = latency[finished < finished.min() + MINUTE_S]
    last = latency[finished >= finished.max() - MINUTE_S]
    verdicts = [
        Verdict(
            f"memory at the end within {allowed:.1%} of after {SETTLED} requests",
            f"{settled:.1f} → {rss[-1]:.1f} MB ({growth:+.1%}); {rss.max():.1f} at most",
            abs(growth) <= allowed,
        ),
        *aging.verdicts(aged),
        Verdict("every request answered", f"by status {statuses}", not taken.unanswered),
    ]

    def draw(axes: Any) -> None:
        axes.plot(done, rss)
        axes.axhline(settled * (1 + allowed), color="grey", linestyle="--", linewidth=1,
                     label=f"{allowed:.1%} above {SETTLED} requests")  # fmt: skip
        axes.set(xlabel="requests answered", ylabel="resident memory, MB", ylim=(0, None))
        axes.set_title("Memory over a soak")

    minutes = ReportTable(
        "Minutes",
        ("minute", "requests", "p50 ms", "p99 ms", "processor ms for each request"),
        (
            _row("first", first, _cpu_ms(taken, 0.0)),
            _row("last", last, _cpu_ms(taken, float(finished.max()) - MINUTE_S)),
        ),
    )
    return write(
        out,
        "soak",
        package,
        [
            f"images: {photos.description}",
            f"{mode}, {precision}; {taken.requests} requests of {users} users in a closed loop, "
            f"in {finished.max() - finished.min():.0f} s",
            "memory is the resident size of all the server's processes",
            "first and last minute: the machine may have changed in between; the pairs of slices "
            "compare both servers at the same time",
        ],
        verdicts,
        [aging.table(aged), minutes],
        {
            "requests": taken.requests,
            "old_and_fresh": [[asdict(slice_) for slice_ in lap] for lap in aged.laps],
            "rss_mb": [
                [round(float(s), 1), round(float(n)), round(float(mb), 2)]
                for s, n, mb in zip(at_s, done, rss, strict=True)
            ],
        },
        {"service-soak.svg": svg(draw)},
    )


def _row(name: str, latency: np.ndarray, cpu_ms: float) -> tuple[str, ...]:
    p50, p99 = (float(np.percentile(latency, q, method="inverted_cdf")) for q in (50, 99))
    return name, str(len(latency)), ms(p50), ms(p99), f"{cpu_ms:.2f}"


def _cpu_ms(taken: Taken, start_s: float) -> float:
    """Processor time of the server for each request, of about one minute from `start_s`."""
    at_s, counts = (np.array(column) for column in zip(*taken.counts, strict=True))
    edges = (max(start_s, 0.0), min(start_s + MINUTE_S, float(at_s[-1])))
    (cpu, more_cpu), (count, more) = (np.interp(edges, at_s, v) for v in (taken.cpu_s, counts))
    return float((more_cpu - cpu) / (more - count) * 1e3)
