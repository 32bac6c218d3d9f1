"""Metrics in shared memory: sums over workers, counters that never fall, gauges of the living."""

import errno
import math
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.api.observability.instruments import Exposition, Family, Instrument
from service.api.observability.ledger import Ledger, Series, read_slot
from service.api.observability.metrics import Metrics
from service.api.server.shared_memory import DATA_AT, SLOT_BYTES, Shared
from service.api.server.worker import join
from tests.support.shared import OTHER_WORKER, Child

BUCKETS = (0.001, 0.5, 1.0, 10.0)


@pytest.fixture(name="shared")
def _shared() -> Iterator[Shared]:
    shared = Shared.create(workers=2)
    yield shared
    os.close(shared.fd)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
        if not s.name.endswith("_created")
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics.expose())[(name, tuple(sorted(labels.items())))]


LABELS = st.text(max_size=8)


@given(
    counted=st.lists(st.tuples(LABELS, LABELS, st.floats(0, 1e6)), max_size=20),
    seen=st.lists(st.tuples(LABELS, st.floats(-5, 1e4)), max_size=20),
)
def test_the_text_is_that_of_the_official_client(
    counted: list[tuple[str, str, float]], seen: list[tuple[str, float]]
) -> None:
    registry = CollectorRegistry()
    counter = Counter("c", "counted", ["one", "two"], registry=registry)
    histogram = Histogram("h", "seen", ["one"], buckets=BUCKETS, registry=registry)
    shared = Shared.create(workers=1)
    try:
        ledger = Ledger(shared, shared.claim())
        exposition = Exposition(ledger)
        families = [
            Family("counter", "c", "counted", ("one", "two")),
            Family("histogram", "h", "seen", ("one",), BUCKETS),
        ]
        own = [Instrument(family, ledger) for family in families]
        for family in families:
            exposition.add(family)
        for one, two, amount in counted:
            counter.labels(one, two).inc(amount)
            own[0].labels(one, two).inc(amount)
        for one, amount in seen:
            histogram.labels(one).observe(amount)
            own[1].labels(one).observe(amount)
        ours, theirs = exposition.text(), generate_latest(registry)
        assert samples(ours) == pytest.approx(samples(theirs))
    finally:
        os.close(shared.fd)


def test_workers_are_summed_and_a_dead_one_leaves_its_counters_only(shared: Shared) -> None:
    metrics = Metrics(Ledger(shared, shared.claim()))
    metrics.observer("m").admitted(3)
    metrics.request("/classify", 200, 0.7)
    with Child(OTHER_WORKER, shared) as child:
        child.wait_for("counted")  # 180 views, and one request of the same kind
        assert value(metrics, "quincunx_waiting_views", model="m") == 183
        assert value(metrics, "quincunx_requests_total", route="/classify", status="200") == 2
        child.process.kill()
        child.process.wait()
    assert value(metrics, "quincunx_waiting_views", model="m") == 3
    assert value(metrics, "quincunx_requests_total", route="/classify", status="200") == 2
    assert value(metrics, "quincunx_request_seconds_count", route="/classify") == 2


def test_the_next_worker_goes_on_with_the_counters_of_a_dead_one(shared: Shared) -> None:
    for number in range(1, 4):
        with Child(OTHER_WORKER, shared) as child:
            child.wait_for("counted")
            metrics = Metrics(Ledger(shared))
            assert value(metrics, "quincunx_waiting_views", model="m") == 180
            name = ("quincunx_requests_total", (("route", "/classify"), ("status", "200")))
            assert samples(metrics.expose())[name] == number
            child.process.kill()
    used = [index for index in range(shared.slots) if list(read_slot(shared.data(index)))]
    assert used == [0]  # the slots do not grow with the deaths


def test_a_full_slot_counts_on_in_its_process(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(shared, shared.claim())
    many = [Series("gauge", "waiting", (f"{'long' * 200}{number}",), 1) for number in range(600)]
    for series in many:
        ledger.numbers(series)[0] += 1
    assert ledger.totals() == {series: [1.0] for series in many}
    assert len(list(read_slot(shared.data(0)))) < len(many)
    assert caplog.text.count("shared memory for metrics is full") == 1


def test_the_slot_has_room_for_what_a_server_counts(shared: Shared) -> None:
    """Twenty models, every route, every status: nothing has to be kept in one process."""
    slot = shared.claim()
    metrics = Metrics(Ledger(shared, slot))
    for route in range(40):
        for status in range(200, 230):
            metrics.request(f"/v2/models/{{model}}/versions/{{version}}/{route}", status, 1)
    for number in range(20):
        observer = metrics.observer(f"a-model-with-a-long-name-{number}")
        observer.batch(5, 0.1)
        observer.waited(0.1)
        for reason in ("draining", "queue_full", "deadline"):
            observer.refused(reason)
        for mode in ("none", "five_crop", "ten_crop", "dense", "adaptive", "custom"):
            metrics.images.labels(f"a-model-with-a-long-name-{number}", mode).inc()
        metrics.image_views.labels(f"a-model-with-a-long-name-{number}").observe(5)
    assert len(list(read_slot(bytes(slot.data)))) > 1300


def test_without_shared_memory_a_worker_counts_alone() -> None:
    metrics = Metrics()
    metrics.request("/classify", 200, 0.7)
    assert value(metrics, "quincunx_request_seconds_sum", route="/classify") == 0.7
    assert value(metrics, "quincunx_decode_seconds_count") == 0


def test_a_full_disk_under_bentoml_s_own_server_leaves_a_worker_that_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    shared, slot = join()
    assert shared is not None
    assert slot is not None

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # The pages are asked for before they are used: else the process would end with SIGBUS.
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert join() == (None, None)
    assert "No space left on device" in caplog.text
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "cleaned away"))
    assert join() == (None, None)
    os.close(shared.fd)


def test_no_more_workers_than_slots(shared: Shared) -> None:
    children = [Child(OTHER_WORKER, shared) for _ in range(shared.slots)]
    try:
        for child in children:
            child.wait_for("counted")
        with pytest.raises(OSError, match="taken"):
            shared.claim()
    finally:
        for child in children:
            child.__exit__()


def test_numbers_from_many_threads_are_all_counted(shared: Shared) -> None:
    from concurrent.futures import ThreadPoolExecutor

    metrics = Metrics(Ledger(shared, shared.claim()))

    def count(_: int) -> None:
        for _ in range(500):
            metrics.request("/classify", 200, 0.1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert value(metrics, "quincunx_requests_total", route="/classify", status="200") == 4000
    seconds = value(metrics, "quincunx_request_seconds_sum", route="/classify")
    assert math.isclose(seconds, 400, rel_tol=1e-9)


def test_a_page_ends_within_its_slot(shared: Shared) -> None:
    slot = shared.claim()
    assert len(slot.data) == SLOT_BYTES - DATA_AT
    ledger = Ledger(shared, slot)
    while len(ledger.totals()) == len(list(read_slot(bytes(slot.data)))):
        number = len(ledger.totals())
        numbers = ledger.numbers(Series("histogram", "h", (str(number),), 200))
        numbers[:] = memoryview(array("d", [1.0] * 200))
    after = shared.data(1)
    assert not any(after)
