"""`quincunx bench load`: the load that a served model can handle, measured over HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from service.bench.environment import environment
from service.bench.load.accounting import account, keeps
from service.bench.load.arrivals import Arrivals, Schedule, due_times, schedule
from service.bench.load.search import highest
from service.bench.load.worker import Target
from service.bench.load.worker_pool import WorkerPool
from service.bench.photos import Photos
from service.bench.report.results import LoadReport, LoadSettings, LoadStep
from service.errors import QuincunxError, UsageError
from service.package.manifest import Mode

ENDPOINT = "/classify"
FEW = 1000
ESTIMATE_SECONDS = 3.0
ESTIMATE_SHARE = 0.7
"""The search starts at this share of a closed loop's rate."""
ESTIMATE_USERS = 8
CLOSED_ROUND = 10_000
"""Users of a closed loop repeat this many requests: enough for the mix to have the right shares."""
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class LoadPlan:
    """How to make load, and what to search for."""

    arrivals: Arrivals = "poisson"
    rates: tuple[float, ...] = ()
    """Requests per second, one step each. Empty: search for the highest rate that keeps the SLO."""
    users: tuple[int, ...] = (1,)
    """Closed loop: users, one step each."""
    mix: dict[Mode, float] = field(default_factory=lambda: {"none": 1.0})
    slo_ms: float = 100.0
    percent: float = 99.0
    seconds: float = 20.0
    warm_up_s: float = 2.0
    processes: int = 2
    connections: int = 256
    timeout_s: float = 30.0
    seed: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def check(self) -> None:
        """Raises UsageError if the plan is invalid."""
        positive = {"seconds": self.seconds, "slo_ms": self.slo_ms, "timeout": self.timeout_s}
        for name, value in positive.items():
            if not 0 < value < inf:
                raise UsageError(f"{name} must be a positive number, but got {value:g}")
        if not 0 <= self.warm_up_s < inf:
            raise UsageError(f"warm_up must be 0 or a positive number, but got {self.warm_up_s:g}")
        if self.processes < 1 or self.connections < self.processes:
            raise UsageError(
                "processes must be 1 or more, with a connection for each, but got "
                f"{self.processes} processes and {self.connections} connections"
            )
        if not 0 < self.percent < 100:
            raise UsageError(f"a percentile is between 0 and 100, but got {self.percent:g}")
        if self.arrivals == "closed" and (self.rates or min(self.users, default=0) < 1):
            raise UsageError("a closed loop takes --users, 1 or more, and no --rate")


Progress = Callable[[LoadStep], None]


def bench_load(
    url: str, plan: LoadPlan, images: Photos, progress: Progress = lambda _step: None
) -> LoadReport:
    """Put load on the server at `url`.

    Raises:
        UsageError: an invalid plan or URL.
        QuincunxError: nothing was answered.
    """
    plan.check()
    address = endpoint(url)
    described = environment()
    target = Target(
        urls=tuple(f"{address}?tta={mode}" for mode in plan.mix),
        bodies=images.files,
        content_types=tuple(images.content_type or content_type(data) for data in images.files),
        headers=plan.headers,
        connections=plan.connections,
        timeout_s=plan.timeout_s,
    )
    with WorkerPool(target, plan.processes) as pool:
        bench = _Bench(pool, plan, len(images.files), progress, address)
        best = bench.run()
    if not any(step.answered or step.refused for step in bench.steps):
        raise _no_answer(address)
    settings = LoadSettings(
        url=address,
        arrivals=plan.arrivals,
        mix=plan.mix,
        images=images.description,
        processes=plan.processes,
        connections=plan.connections,
        seconds=plan.seconds,
        warm_up_seconds=plan.warm_up_s,
        timeout_s=plan.timeout_s,
        seed=plan.seed,
    )
    return LoadReport(
        environment=described,
        settings=settings,
        slo_ms=plan.slo_ms,
        slo_percentile=plan.percent,
        steps=tuple(bench.steps),
        best_per_second=best,
        notes=tuple(notes(bench.steps, address)),
    )


def _no_answer(address: str) -> QuincunxError:
    return QuincunxError(f"{address} answered nothing: is a server running there?")


class _Bench:
    """Runs steps and keeps them."""

    def __init__(
        self, pool: WorkerPool, plan: LoadPlan, images: int, progress: Progress, address: str
    ) -> None:
        self._address = address
        self.steps: list[LoadStep] = []
        self._pool = pool
        self._plan = plan
        self._images = images
        self._progress = progress

    def run(self) -> float | None:
        """Run every step of the plan. Returns the highest rate that kept the SLO."""
        plan = self._plan
        if plan.arrivals == "closed":
            for users in plan.users:
                self._closed(users, plan.seconds)
            return None
        if plan.rates:
            kept = [rate for rate in plan.rates if self._keeps(rate)]
            return max(kept, default=None)
        users = min(ESTIMATE_USERS, plan.connections)
        estimate = self._closed(users, min(plan.seconds, ESTIMATE_SECONDS)).answered_per_second
        if not estimate:
            raise _no_answer(self._address)
        return highest(self._keeps, estimate * ESTIMATE_SHARE)

    def _keeps(self, rate: float) -> bool:
        plan = self._plan
        arrivals = "constant" if plan.arrivals == "constant" else "poisson"
        generator = self._generator()
        due_s = due_times(arrivals, rate, plan.warm_up_s + plan.seconds, generator)
        requests = schedule(due_s, plan.mix, self._images, generator)
        return keeps(self._step(requests, plan.seconds, rate=rate), plan.slo_ms)

    def _closed(self, users: int, seconds: float) -> LoadStep:
        due_s = np.zeros(CLOSED_ROUND)
        requests = schedule(due_s, self._plan.mix, self._images, self._generator())
        return self._step(requests, seconds, users=users)

    def _generator(self) -> np.random.Generator:
        """Each step has its own seed, so that an unlucky draw does not repeat in every step."""
        return np.random.default_rng((self._plan.seed, len(self.steps)))

    def _step(
        self,
        requests: Schedule,
        seconds: float,
        *,
        rate: float | None = None,
        users: int | None = None,
    ) -> LoadStep:
        """Send the requests, and keep and show the figures."""
        plan = self._plan
        done = self._pool.run(requests, plan.warm_up_s + seconds, users)
        step = account(
            done.records,
            tuple(plan.mix),
            warm_up_s=plan.warm_up_s,
            seconds=seconds,
            percent=plan.percent,
            client_cpu=done.cpu,
            offered_per_second=rate,
            users=users,
        )
        self.steps.append(step)
        self._progress(step)
        return step


def notes(steps: Sequence[LoadStep], address: str) -> list[str]:
    """Notes that a reader needs to judge the figures."""
    found: list[str] = []
    if urlsplit(address).hostname in LOCAL_HOSTS:
        found.append(
            "the client ran on the server's machine and took cores from it: the figures are a "
            "lower bound of what the server can do."
        )
    for step in steps:
        if step.client_limited:
            found.append(f"{step.name}: the client was the limit: {step.client_limited}.")
        if step.failed:
            found.append(f"{step.name}: {step.failed} of {step.sent} requests failed.")
    fewest = min((step.sent for step in steps), default=0)
    if fewest < FEW:
        found.append(
            f"p99.9 needs {FEW} requests; with the {fewest} of the smallest step it is the "
            "largest latency."
        )
    return found


def endpoint(url: str) -> str:
    """The address for POST: `url` itself, or with /classify if it has no path.

    Raises:
        UsageError: no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"a URL looks like http://127.0.0.1:3000, but got {url!r}")
    path = parts.path if parts.path.strip("/") else ENDPOINT
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def content_type(data: bytes) -> str:
    """The media type by the file's first bytes. The server decides for itself anyway."""
    for magic, kind in (
        (b"\xff\xd8", "image/jpeg"),
        (b"\x89PNG", "image/png"),
        (b"GIF8", "image/gif"),
        (b"BM", "image/bmp"),
        (b"RIFF", "image/webp"),
    ):
        if data.startswith(magic):
            return kind
    return "image/tiff" if data[:4] in (b"II*\0", b"MM\0*") else "application/octet-stream"
