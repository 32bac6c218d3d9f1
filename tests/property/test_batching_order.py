"""Who goes first where views wait, and which of them share a batch."""

import asyncio
import threading

from service.errors import BadImage
from service.inference.engine import Steps
from service.inference.predictor import Predictor
from service.inference.tta.steps import Classification, Options
from service.scheduler.queue import StageTimings
from tests.support.batching import (
    IMAGES,
    Held,
    alone,
    asked,
    assert_same,
    batching,
    begin,
    plain,
    queued,
    two_steps,
    until,
)


async def test_what_waits_is_shared_among_the_free_slots(predictor: Predictor) -> None:
    async with batching(predictor, max_concurrent_batches=3) as (batcher, recorder):
        recorder.gate.clear()
        work = begin(predictor, IMAGES[0], "five_crop")
        first = asked(batcher, work)
        await until(lambda: len(recorder.batches) == 3)
        assert sorted(recorder.batches) == [1, 2, 2]
        second = asked(batcher, work)
        await until(lambda: queued(batcher) == 5)  # no slot is free
        recorder.gate.set()
        for answer, _ in await asyncio.gather(first, second):
            assert_same(answer, alone(predictor, IMAGES[0], "five_crop"))


async def test_a_busy_slot_is_left_its_share_in_whole_images(predictor: Predictor) -> None:
    async with batching(predictor, max_concurrent_batches=2, max_batch_views=20) as (
        batcher,
        recorder,
    ):
        gates = [threading.Event() for _ in range(3)]
        tasks: list[asyncio.Task[tuple[Classification, StageTimings]]] = []
        for taken, recorder.gate in enumerate(gates[:2], start=1):
            tasks.append(asked(batcher, begin(predictor, IMAGES[0], "none"), views=1))
            await until(lambda n=taken: recorder.batches == [1] * n)
        recorder.gate = gates[2]
        tasks += [asked(batcher, begin(predictor, IMAGES[0], "five_crop")) for _ in range(3)]
        await until(lambda: queued(batcher) == 15)
        gates[0].set()
        await until(lambda: recorder.batches == [1, 1, 10])
        gates[1].set()
        await until(lambda: recorder.batches == [1, 1, 10, 5])
        gates[2].set()
        await asyncio.gather(*tasks)


async def test_few_views_let_the_images_that_wait_go_first(predictor: Predictor) -> None:
    async with batching(predictor, threads=1) as (batcher, recorder):
        held, ran_after = Held(predictor), list[int]()

        def later() -> Steps:
            ran_after.append(len(recorder.batches))
            return predictor.start(IMAGES[0], Options(tta="none"))

        first = asked(batcher, begin(predictor, IMAGES[0], "none"), views=1)
        others = [asked(batcher, work, views=1) for work in (held, later, later)]
        await until(held.begun.is_set)  # by the only thread; the first image's view waits
        held.free.set()
        await asyncio.gather(first, *others)
        assert ran_after == [0, 0]  # no batch ran before the last image was decoded
        recorder.batches.clear()
        await asked(batcher, begin(predictor, IMAGES[0], "none"), views=1)
        assert recorder.batches == [1]  # and wait for nobody where nobody waits


async def test_few_views_do_not_wait_for_images_that_are_gone(predictor: Predictor) -> None:
    async with batching(predictor, threads=1) as (batcher, _):
        held = Held(predictor)
        waiting = asked(batcher, held, views=1)
        await until(held.begun.is_set)
        gone = asked(batcher, begin(predictor, IMAGES[0], "none"), views=1)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        held.free.set()
        answer, _ = await waiting
        assert_same(answer, alone(predictor, IMAGES[0], "none"))


async def test_few_views_wait_for_a_few_images_at_most(predictor: Predictor) -> None:
    """Where images go on coming that add no views, those that wait are not forgotten."""
    most = 6
    async with batching(predictor, threads=1, max_batch_views=most) as (batcher, recorder):
        held, ran_after = Held(predictor), list[int]()

        def broken() -> Steps:
            ran_after.append(len(recorder.batches))
            raise BadImage("broken")

        waiting = asked(batcher, held, views=1)
        await until(held.begun.is_set)
        others = [asked(batcher, broken, views=1) for _ in range(2 * most)]
        await asyncio.sleep(0)
        held.free.set()
        await waiting
        await asyncio.gather(*others, return_exceptions=True)
        assert ran_after == [0] * most + [1] * most


async def test_a_second_pass_goes_before_the_images_that_came_later(predictor: Predictor) -> None:
    async with batching(predictor, max_batch_views=1) as (batcher, recorder):
        gate, read = recorder.gate, threading.Event()
        gate.clear()
        works = [two_steps(predictor, read)]
        works += [begin(predictor, plain(shade), "none") for shade in (20, 30, 40)]
        tasks: list[asyncio.Task[tuple[Classification, StageTimings]]] = []
        for number, work in enumerate(works):
            tasks.append(asked(batcher, work, views=1))
            await until(lambda n=number: len(recorder.batches) + queued(batcher) == n + 1)
            await until(lambda: len(recorder.batches) == 1)
        recorder.gate = threading.Event()
        gate.set()  # the first pass ends; the second image has the session
        await until(lambda: len(recorder.batches) == 2)
        read.set()
        await until(lambda: queued(batcher) == 3 + 2)
        recorder.gate.set()
        await asyncio.gather(*tasks)
        assert recorder.shades == [10, 20, 10, 10, 10, 30, 40]
