"""Single-request mode: one image in flight takes every slot, and later images wait for it."""

import asyncio
import threading

import pytest

from service.errors import InferenceFailed
from service.inference.engine import Steps
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.scheduler.policy import COOLDOWN_IMAGES
from tests.support.batching import (
    IMAGES,
    Held,
    Recorder,
    alone,
    asked,
    assert_same,
    batching,
    begin,
    plain,
    until,
)


def latency_of(recorder: Recorder) -> Recorder:
    assert recorder.latency_session is not None
    return recorder.latency_session


async def test_a_single_request_takes_every_slot(predictor: Predictor) -> None:
    async with batching(
        predictor, max_concurrent_batches=3, threads=3, single_request_mode=True
    ) as (batcher, recorder):
        latency, begun = latency_of(recorder), threading.Event()

        def later() -> Steps:
            begun.set()
            return predictor.start(IMAGES[1], Options(tta="none"))

        await until(lambda: batcher._workers.idle == 3)
        latency.gate.clear()
        first = asked(batcher, begin(predictor, IMAGES[0], "five_crop"))
        await until(lambda: latency.batches == [5])
        second = asked(batcher, later, views=1)
        await asyncio.sleep(0.05)
        assert not begun.is_set()  # not decoded either: the cores are taken
        latency.gate.set()
        assert_same((await first)[0], alone(predictor, IMAGES[0], "five_crop"))
        assert_same((await second)[0], alone(predictor, IMAGES[1], "none"))
        assert latency.batches == [5]
        assert recorder.batches == [1]


async def test_after_overlap_a_few_images_must_arrive_without_overlap(predictor: Predictor) -> None:
    async with batching(
        predictor, max_concurrent_batches=2, threads=2, single_request_mode=True
    ) as (batcher, recorder):
        latency, held, uncontended = latency_of(recorder), Held(predictor), list[bool]()

        def work() -> Steps:
            uncontended.append(batcher.uncontended)
            return predictor.start(IMAGES[0], Options(tta="none"), uncontended=batcher.uncontended)

        met = [asked(batcher, held, views=1)]
        await until(held.begun.is_set)
        met.append(asked(batcher, work, views=1))
        await met[1]
        held.free.set()
        await met[0]
        assert (recorder.batches, latency.batches, uncontended) == ([1, 1], [], [False])
        for number in range(1, COOLDOWN_IMAGES + 2):
            await until(lambda: batcher._workers.idle == 2)
            await asked(batcher, work, views=1)
            assert len(latency.batches) == max(0, number - COOLDOWN_IMAGES)
            assert uncontended[-1] == (number > COOLDOWN_IMAGES)


async def test_an_image_beside_another_takes_one_slot(predictor: Predictor) -> None:
    async with batching(
        predictor, max_concurrent_batches=2, threads=2, single_request_mode=True
    ) as (batcher, recorder):
        held = Held(predictor)
        other = asked(batcher, held, views=1)
        await until(held.begun.is_set)
        answer, _ = await asked(batcher, begin(predictor, IMAGES[0], "five_crop"))
        assert_same(answer, alone(predictor, IMAGES[0], "five_crop"))
        assert recorder.batches == [5]
        assert latency_of(recorder).batches == []
        held.free.set()
        await other


async def test_more_views_than_a_batch_may_have_take_the_slots_in_turn(
    predictor: Predictor,
) -> None:
    async with batching(
        predictor, max_concurrent_batches=2, threads=2, max_batch_views=4, single_request_mode=True
    ) as (batcher, recorder):
        await until(lambda: batcher._workers.idle == 2)
        answer, _ = await asked(batcher, begin(predictor, IMAGES[0], "ten_crop"), views=10)
        assert_same(answer, alone(predictor, IMAGES[0], "ten_crop"))
        assert sum(recorder.batches + latency_of(recorder).batches) == 10
        assert max(recorder.batches + latency_of(recorder).batches) <= 4


async def test_an_image_that_fails_or_leaves_gives_the_slots_back(predictor: Predictor) -> None:
    async with batching(
        predictor, max_concurrent_batches=2, threads=2, single_request_mode=True
    ) as (batcher, recorder):
        latency = latency_of(recorder)
        latency.poison = recorder.poison = 7
        with pytest.raises(InferenceFailed):
            await asked(batcher, begin(predictor, plain(7), "none"), views=1)
        latency.gate.clear()
        await until(lambda: batcher._workers.idle == 2)
        left = asked(batcher, begin(predictor, plain(9), "none"), views=1)
        await until(lambda: 9 in latency.shades)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        waiting = asked(batcher, begin(predictor, plain(11), "none"), views=1)
        latency.gate.set()
        assert_same((await waiting)[0], alone(predictor, plain(11), "none"))
