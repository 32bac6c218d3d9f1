"""Stage times of the tail benchmark: they add up to the latency."""

import json

import pytest

from benchmarks.service.stages import StagedRequest

TIMING = {
    "decode": 1.0,
    "prepare": 0.5,
    "queue": 2.0,
    "inference": 10.0,
    "finish": 0.5,
    "total": 18.0,
    "batch_views": [2, 1],
}


def test_every_millisecond_is_in_one_stage() -> None:
    request = StagedRequest.of(1.0, 1.003, 1.025, json.dumps({"timing_ms": TIMING}).encode())
    assert request.latency == pytest.approx(25.0)
    assert request.late == pytest.approx(3.0)
    assert request.outside == pytest.approx(4.0)  # 22 ms since it was sent, 18 in the server
    assert request.thread == pytest.approx(4.0)
    stages = (request.late, request.outside, request.thread, request.decode, request.queue)
    assert sum(stages) + request.batches + request.finish == pytest.approx(request.latency)


def test_a_second_pass_and_the_largest_batch_are_noted() -> None:
    request = StagedRequest.of(0.0, 0.0, 0.018, json.dumps({"timing_ms": TIMING}).encode())
    assert request.two_steps
    assert request.largest_batch == 2
    one = json.dumps({"timing_ms": TIMING | {"batch_views": [1]}}).encode()
    assert not StagedRequest.of(0.0, 0.0, 0.018, one).two_steps
