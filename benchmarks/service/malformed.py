"""Thousands of malformed requests, and how the server answers them."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.service.malformed_cases import ADMIN_KEY, Case, cases, form
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Server, serving
from service.bench.photos import Photos
from service.bench.report.tables import ReportTable
from service.package.package import ModelPackage

SLOWEST_S = 30.0


@dataclass
class Outcome:
    """The outcome of all requests."""

    requests: int
    statuses: Counter[tuple[str, int]]
    failures: list[str]
    """Requests that got a 5xx or no answer at all."""
    slowest_s: float


def send_all(url: str, model: str, count: int, seed_: int = 0) -> Outcome:
    """Send `count` requests to the server at `url`, without judging the answers."""
    outcome = Outcome(0, Counter(), [], 0.0)

    with httpx.Client(base_url=url, timeout=SLOWEST_S) as client:

        @seed(seed_)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(case=cases(model))
        def send(case: Case) -> None:
            _send(client, case, outcome)

        send()
    return outcome


def _send(client: httpx.Client, case: Case, outcome: Outcome) -> None:
    headers = [(name.encode(), value.encode("utf-8")) for name, value in case.headers.items()]
    outcome.requests += 1
    try:
        response = client.post(case.path, content=case.body, headers=headers)
    except httpx.TransportError as error:
        outcome.statuses[case.kind, 0] += 1
        outcome.failures.append(f"{error!r}: {case!r:.500}")
        return
    outcome.statuses[case.kind, response.status_code] += 1
    outcome.slowest_s = max(outcome.slowest_s, response.elapsed.total_seconds())
    if response.status_code >= 500:
        outcome.failures.append(f"{response.status_code}: {case!r:.500}")


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *, precision: str, requests: int
) -> bool:
    """Send a valid request, then malformed ones, then the valid request again."""

    def ask(server: Server) -> Callable[[], dict[str, Any]]:
        body, headers = form(photos.files[0])

        def answer() -> dict[str, Any]:
            response = httpx.post(
                f"{server.url}/classify", content=body, headers=headers, timeout=SLOWEST_S
            )
            response.raise_for_status()
            content = response.json()
            return {name: content[name] for name in ("label", "predictions", "tta_applied")}

        return answer

    with serving(package.folder, precision, logs / "malformed.log", admin_keys=ADMIN_KEY) as server:
        right = ask(server)
        expected, processes = right(), {process.pid for process in server.tree()}
        outcome = send_all(server.url, package.manifest.name, requests)
        same = right() == expected
        alive = {process.pid for process in server.tree()} == processes
    tracebacks = server.log.read_text(errors="replace").count("Traceback")
    for failure in outcome.failures:
        print(failure, file=sys.stderr)
    kinds = sorted({kind for kind, _ in outcome.statuses})
    statuses = sorted({status for _, status in outcome.statuses})
    verdicts = [
        Verdict(
            "no 5xx, and every request answered",
            f"{len(outcome.failures)} of {outcome.requests} otherwise",
            not outcome.failures,
        ),
        Verdict(
            "no crash: the same processes, no traceback in the log",
            f"{'the same' if alive else 'OTHERS'}; {tracebacks} tracebacks",
            alive and not tracebacks,
        ),
        Verdict("the same right answer afterwards", "the same" if same else "ANOTHER", same),
    ]
    rows = tuple(
        (kind, *(str(outcome.statuses.get((kind, status), 0)) for status in statuses))
        for kind in kinds
    )
    return write(
        out,
        "malformed",
        package,
        [
            f"{outcome.requests} requests drawn by hypothesis (seed 0), to /classify, "
            "/classify_batch, /v2/models/*/infer and /models/reload of a real server",
            f"the slowest answer took {outcome.slowest_s:.2f} s",
        ],
        verdicts,
        [ReportTable("Answers by kind and status", ("kind", *map(str, statuses)), rows)],
        {"failures": outcome.failures},
    )
