"""Which batch runs next: a table of states and decisions, without threads."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scheduler.policy import (
    BatchDecision,
    Limits,
    State,
    decide_batch,
    decode_first,
    threads_to_wake,
)

CPU = Limits(
    max_concurrent_batches=2,
    max_batch_views=10,
    enough_views=10,
    workers_run_batches=True,
    has_latency_session=True,
)
LINEAR = dataclasses.replace(CPU, enough_views=2)
"""A network for which a view costs the same in batches of 2 and of 10."""
GPU = Limits(
    max_concurrent_batches=2,
    max_batch_views=64,
    enough_views=64,
    workers_run_batches=False,
    has_latency_session=False,
)


def state(
    views: int,
    undecoded: int = 0,
    *,
    free: int = 2,
    idle: int = 0,
    single: bool = False,
    decoded: int = 0,
) -> State:
    """`single`: the waiting views belong to the only image in flight, after the cooldown."""
    return State(views, undecoded, free, idle, single, single, decoded)


def batch(share: int, *, whole: bool, slots: int = 1, single: bool = False) -> BatchDecision:
    return BatchDecision(share, whole, slots, single)


@pytest.mark.parametrize(
    ("limits", "now", "decision"),
    [
        pytest.param(CPU, state(0), None, id="nothing waits"),
        pytest.param(CPU, state(5, free=0, idle=1), None, id="no slot is free"),
        # A short queue is divided among the threads that can start now.
        pytest.param(CPU, state(5, idle=0), batch(3, whole=True), id="the other thread is busy"),
        pytest.param(CPU, state(5, idle=1), batch(3, whole=False), id="one helper"),
        pytest.param(CPU, state(5, free=1, idle=3), batch(3, whole=True), id="one free slot"),
        pytest.param(CPU, state(1, idle=1), batch(1, whole=False), id="a single view"),
        # With a long queue a batch is one slot's share. `Queues.pop` applies the limit of a batch.
        pytest.param(CPU, state(40), batch(10, whole=True), id="long queue"),
        pytest.param(CPU, state(12, 6), batch(9, whole=True), id="undecoded images count"),
        # Decoding goes first while the queue is less than one slot's share.
        pytest.param(CPU, state(3, 5), None, id="decode first"),
        pytest.param(CPU, state(5, 5), batch(5, whole=True), id="a full share waits"),
        pytest.param(CPU, state(10, 90), batch(10, whole=True), id="a full batch waits"),
        pytest.param(CPU, state(9, 90), None, id="not yet a full batch"),
        pytest.param(CPU, state(3, 5, decoded=9), None, id="the batch may wait once more"),
        pytest.param(CPU, state(3, 5, decoded=10), batch(4, whole=True), id="it waited enough"),
        # Batches stop growing where views become no cheaper.
        pytest.param(LINEAR, state(40), batch(2, whole=True), id="enough of a long queue"),
        pytest.param(LINEAR, state(9, idle=1), batch(2, whole=False), id="enough, one helper"),
        pytest.param(LINEAR, state(2, 90), batch(2, whole=True), id="enough, so no decoding"),
        pytest.param(LINEAR, state(1, 5), None, id="not enough, decode first"),
        pytest.param(LINEAR, state(1), batch(1, whole=True), id="less, and nothing to decode"),
        pytest.param(
            LINEAR, state(5, idle=1, single=True), batch(3, whole=True, slots=2, single=True),
            id="a single request is not cut",
        ),
        # Single-request mode.
        pytest.param(
            CPU, state(5, idle=1, single=True), batch(3, whole=True, slots=2, single=True),
            id="single request",
        ),
        pytest.param(
            CPU, state(5, idle=0, single=True), batch(3, whole=True), id="a thread is busy"
        ),
        pytest.param(
            CPU, state(5, free=1, idle=1, single=True), batch(3, whole=True), id="a slot is busy"
        ),
        pytest.param(
            dataclasses.replace(CPU, has_latency_session=False), state(5, idle=1, single=True),
            batch(3, whole=False), id="single-request mode is off",
        ),
        # A GPU has a thread of its own, so it never waits for decoding.
        pytest.param(GPU, state(3, 50, free=1), batch(3, whole=True), id="gpu"),
        pytest.param(GPU, state(300, free=1), batch(64, whole=True), id="gpu, long queue"),
        # Two small batches take longer there than a large one.
        pytest.param(GPU, state(30, idle=1), batch(30, whole=True), id="gpu, both slots are free"),
        pytest.param(GPU, state(30, free=1), batch(30, whole=True), id="gpu, a slot is busy"),
    ],
)  # fmt: skip
def test_the_next_batch(limits: Limits, now: State, decision: BatchDecision | None) -> None:
    assert decide_batch(limits, now) == decision


def test_two_facts_make_a_single_request() -> None:
    both = state(5, idle=1, single=True)
    for change in ({"uncontended": False}, {"one_image_waits": False}):
        decision = decide_batch(CPU, both._replace(**change))
        assert decision == batch(3, whole=False)


@pytest.mark.parametrize(
    ("limits", "now", "threads"),
    [
        (CPU, state(5, idle=1), 4),  # the thread that asks runs one batch itself
        (CPU, state(5, idle=1, single=True), 0),
        (GPU, state(5, free=1), 5),
    ],
)
def test_threads_to_wake(limits: Limits, now: State, threads: int) -> None:
    assert threads_to_wake(limits, now, new_views=5) == threads


limits = st.builds(
    Limits, st.integers(1, 8), st.integers(32, 64), st.integers(1, 32), st.booleans(),
    st.booleans(),
)  # fmt: skip
states = st.builds(
    State, st.integers(0, 500), st.integers(0, 500), st.integers(0, 8), st.integers(0, 8),
    st.booleans(), st.booleans(), st.integers(0, 70),
)  # fmt: skip


@given(limits, states)
def test_a_thread_that_is_free_always_has_something_to_do(limits: Limits, now: State) -> None:
    """Where views wait and a slot is free, either a batch runs or an image is decoded."""
    decision = decide_batch(limits, now)
    if decision is not None:
        assert decision.share_views >= 1
        assert 1 <= decision.slots <= limits.max_concurrent_batches
        assert now.free_slots >= decision.slots or not decision.single_request
    elif now.waiting_views and now.free_slots:
        assert decode_first(limits, now)
        assert now.undecoded_images


@given(limits, states)
def test_an_empty_queue_never_delays_a_request(limits: Limits, now: State) -> None:
    now = now._replace(undecoded_images=0)
    runs = decide_batch(limits, now) is not None
    assert runs == bool(now.waiting_views and now.free_slots)


@given(limits, states)
def test_a_batch_takes_no_more_images_than_make_it_cheap(limits: Limits, now: State) -> None:
    decision = decide_batch(limits, now)
    if decision is not None and not decision.single_request:
        assert decision.share_views <= limits.enough_views
