"""From records to figures. There is no clock and no network here, so tests check every digit."""

import numpy as np

from service.bench.load.records import ANSWERED, FAILED, REFUSED, Records
from service.bench.report.results import LoadStep, Summary
from service.bench.report.statistics import percentile
from service.package.manifest import Mode

LATE_SHARE = 0.1
LATE_MS = 1.0
BUSY = 0.9
WAITED_SHARE = 0.01


def account(
    records: Records,
    modes: tuple[Mode, ...],
    *,
    warm_up_s: float,
    seconds: float,
    percent: float,
    client_cpu: float,
    offered_per_second: float | None = None,
    users: int | None = None,
) -> LoadStep:
    """Figures of the requests that were due after the warm-up. Latency counts from the due time.

    An open loop has a rate that was offered, a closed loop has users.
    """
    end_s = warm_up_s + seconds
    finished = (records.done_s >= warm_up_s) & (records.done_s < end_s)
    per_second = int((finished & (records.status == ANSWERED)).sum()) / seconds
    counted = records.where((records.due_s >= warm_up_s) & (records.due_s < end_s))
    answered = counted.status == ANSWERED
    latency_ms = (counted.done_s - counted.due_s) * 1e3
    lateness_ms = (counted.sent_s - counted.due_s) * 1e3
    everyone_ms = np.where(answered, latency_ms, np.inf)
    worst = percentile(everyone_ms, percent)
    by_mode: dict[Mode, list[float]] = {
        mode: np.round(latency_ms[answered & (counted.mode == index)], 3).tolist()
        for index, mode in enumerate(modes)
    }
    lateness_p99_ms = percentile(lateness_ms, 99) if len(counted) else 0.0
    return LoadStep(
        offered_per_second=offered_per_second,
        users=users,
        sent=len(counted),
        answered=int(answered.sum()),
        refused=int((counted.status == REFUSED).sum()),
        failed=int((counted.status == FAILED).sum()),
        answered_per_second=per_second,
        latency=Summary.of(latency_ms[answered].tolist()) if answered.any() else None,
        by_mode={mode: Summary.of(samples) for mode, samples in by_mode.items() if samples},
        worst_percentile_ms=worst if np.isfinite(worst) else None,
        lateness_p99_ms=lateness_p99_ms,
        client_cpu=client_cpu,
        client_limited=_client_limited(
            lateness_p99_ms,
            percentile(latency_ms[answered], 99) if answered.any() else np.inf,
            client_cpu,
            float(counted.waited.mean()) if len(counted) else 0.0,
        ),
        latencies_ms=by_mode,
    )


def keeps(step: LoadStep, slo_ms: float) -> bool:
    """Whether the SLO's percentile over all requests, with unanswered ones, was in time."""
    return step.worst_percentile_ms is not None and step.worst_percentile_ms <= slo_ms


def _client_limited(
    lateness_p99_ms: float, latency_p99_ms: float, cpu: float, waited: float
) -> str | None:
    if lateness_p99_ms > max(LATE_MS, LATE_SHARE * latency_p99_ms):
        return (
            f"1% of requests were sent {lateness_p99_ms:.1f} ms late or more: the client machine "
            "was busy"
        )
    if cpu > BUSY:
        return f"a worker used {cpu:.0%} of a core: raise --processes"
    if waited > WAITED_SHARE:
        return f"{waited:.0%} of requests waited for a connection: raise --connections"
    return None
