"""The figures of a load test, on records whose truth is known: simulated clerks, no network."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.bench.load.accounting import account, keeps
from service.bench.load.arrivals import due_times
from service.bench.load.records import ANSWERED, FAILED, REFUSED, Records
from service.bench.load.search import highest
from service.bench.report.results import LoadStep
from tests.support.queueing import finished, md1_percentile_s

SERVICE_S = 0.02


def records(
    due_s: NDArray[np.float64],
    done_s: NDArray[np.float64],
    sent_s: NDArray[np.float64] | None = None,
    status: NDArray[np.int16] | None = None,
) -> Records:
    n = len(due_s)
    return Records(
        due_s,
        due_s if sent_s is None else sent_s,
        done_s,
        np.full(n, ANSWERED, np.int16) if status is None else status,
        np.zeros(n, np.int16),
        np.zeros(n, np.bool_),
    )


def figures(
    made: Records, seconds: float, *, warm_up_s: float = 0.0, client_cpu: float = 0.1
) -> LoadStep:
    return account(
        made,
        ("none",),
        warm_up_s=warm_up_s,
        seconds=seconds,
        percent=99.0,
        offered_per_second=len(made) / seconds,
        client_cpu=client_cpu,
    )


def simulated(rate: float, seconds: float, kind: str = "poisson", seed: int = 0) -> LoadStep:
    """A step against a clerk who takes 20 ms for each."""
    arrivals = "constant" if kind == "constant" else "poisson"
    due_s = due_times(arrivals, rate, seconds, np.random.default_rng(seed))
    return figures(records(due_s, finished(due_s, SERVICE_S)), seconds)


def test_p99_at_70_percent_load_is_what_the_queueing_formula_says() -> None:
    step = simulated(0.7 / SERVICE_S, 6000)
    expected_ms = md1_percentile_s(0.7 / SERVICE_S, SERVICE_S, 99) * 1e3
    assert step.latency is not None
    assert step.latency.p99_ms == pytest.approx(expected_ms, rel=0.05)
    mean_ms = SERVICE_S * (1 + 0.7 / (2 * 0.3)) * 1e3  # Pollaczek and Khinchine
    assert step.latency.mean_ms == pytest.approx(mean_ms, rel=0.03)


def test_the_search_finds_the_capacity_of_a_known_server() -> None:
    found = highest(lambda rate: keeps(simulated(rate, 30, "constant"), 100), start=17)
    assert found == pytest.approx(1 / SERVICE_S, rel=0.05)


def test_the_search_finds_the_highest_rate_that_keeps_p99() -> None:
    def keeps_exactly(rate: float) -> bool:
        if rate * SERVICE_S >= 0.95:
            return False
        return md1_percentile_s(rate, SERVICE_S, 99) <= 0.1

    truth = next(rate for rate in np.arange(49, 1, -0.05) if keeps_exactly(rate))
    for start in (1.0, 30.0, 400.0):
        assert highest(keeps_exactly, start) == pytest.approx(truth, rel=0.03)
    seeds = iter(range(1000))
    found = highest(lambda rate: keeps(simulated(rate, 400, seed=next(seeds)), 100), 30)
    assert found == pytest.approx(truth, rel=0.05)


def test_one_failure_is_tried_again_and_never_keeping_finds_nothing() -> None:
    tries: list[float] = []

    def first_try_fails(rate: float) -> bool:
        tries.append(rate)
        return tries.count(rate) == 2 and rate <= 40

    assert highest(first_try_fails, 20) == pytest.approx(40, rel=0.03)
    assert highest(lambda _: False, 20) is None


def test_a_stall_of_a_second_hurts_every_request_that_was_due_in_it() -> None:
    due_s = due_times("constant", 20, 100, np.random.default_rng(1))
    done_s = finished(due_s, 0.01, stall_s=(50.0, 1.0))
    step = figures(records(due_s, done_s), 100)
    assert step.latency is not None
    assert step.latency.p50_ms < 20
    assert step.latency.p999_ms > 900
    hurt = sum(ms > 500 for ms in step.latencies_ms["none"])
    assert hurt == pytest.approx(0.5 * 20, abs=4)  # half a second's worth, not one request


def test_a_late_send_does_not_shorten_a_latency() -> None:
    due_s = np.arange(100) / 10
    step = figures(records(due_s, due_s + 0.08, sent_s=due_s + 0.05), 10)
    assert step.latency is not None
    assert step.latency.p50_ms == pytest.approx(80)
    assert step.lateness_p99_ms == pytest.approx(50)
    assert step.client_limited is not None
    assert "50.0 ms late" in step.client_limited


def test_a_client_that_ran_out_says_so() -> None:
    due_s = np.arange(100) / 10
    made = records(due_s, due_s + 0.08)
    assert figures(made, 10).client_limited is None
    assert "--processes" in (figures(made, 10, client_cpu=0.97).client_limited or "")
    waited = Records(
        made.due_s, made.sent_s, made.done_s, made.status, made.mode, np.arange(100) % 20 == 0
    )
    assert "--connections" in (figures(waited, 10).client_limited or "")


def test_refusals_count_apart_from_failures_and_both_against_the_promise() -> None:
    due_s = np.arange(1000) / 100
    status = np.full(1000, ANSWERED, np.int16)
    status[:5], status[5:8] = REFUSED, FAILED
    step = figures(records(due_s, due_s + 0.05, status=status), 10)
    assert (step.sent, step.answered, step.refused, step.failed) == (1000, 992, 5, 3)
    assert keeps(step, 60)
    status[8:20] = REFUSED  # 2% unanswered: the 99th percentile of all is for ever
    step = figures(records(due_s, due_s + 0.05, status=status), 10)
    assert step.latency is not None
    assert step.latency.p99_ms == pytest.approx(50)
    assert step.worst_percentile_ms is None
    assert not keeps(step, 60)


def test_the_warm_up_does_not_count() -> None:
    due_s = np.arange(100) / 10
    done_s = due_s + np.where(due_s < 2, 5.0, 0.1)
    step = figures(records(due_s, done_s), 8, warm_up_s=2)
    assert step.sent == 80
    assert step.latency is not None
    assert step.latency.p999_ms == pytest.approx(100)


def test_throughput_counts_what_was_finished_in_the_step() -> None:
    """An overloaded server's backlog is answered after the step, and is not its throughput."""
    step = simulated(2 / SERVICE_S, 20)
    assert step.sent == pytest.approx(2000, rel=0.1)
    assert step.answered_per_second == pytest.approx(1 / SERVICE_S, rel=0.01)


def test_a_step_without_answers_has_no_latency() -> None:
    due_s = np.arange(10) / 10
    step = figures(records(due_s, due_s + 1, status=np.full(10, FAILED, np.int16)), 1)
    assert step.latency is None
    assert step.by_mode == {}
    assert not keeps(step, 1e9)


def test_joined_records_are_in_order_of_being_due() -> None:
    first = records(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    second = records(np.array([1.0]), np.array([9.0]))
    joined = Records.joined([first, second])
    assert joined.due_s.tolist() == [0.0, 1.0, 2.0]
    assert joined.done_s.tolist() == [1.0, 9.0, 3.0]
