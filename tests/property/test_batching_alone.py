"""An image that is alone has every place, and what comes meanwhile waits for it."""

import asyncio
import threading

import pytest

from service.errors import InferenceFailed
from service.inference.engine import Job
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.scheduler.batcher import QUIET_IMAGES, Batcher
from tests.support.batching import (
    IMAGES,
    Held,
    Recorder,
    alone,
    asked,
    assert_same,
    begin,
    plain,
    run,
    until,
)


def lone_of(recorder: Recorder) -> Recorder:
    assert recorder.lone is not None
    return recorder.lone


def test_an_image_that_is_alone_takes_every_place(predictor: Predictor) -> None:
    async def body(batcher: Batcher, recorder: Recorder) -> None:
        lone, begun = lone_of(recorder), threading.Event()

        def later() -> Job:
            begun.set()
            return predictor.start(IMAGES[1], Options(tta="none"))

        await until(lambda: batcher._workers.idle == 3)
        lone.gate.clear()
        first = asked(batcher, begin(predictor, IMAGES[0], "five_crop"))
        await until(lambda: lone.batches == [5])
        second = asked(batcher, later, views=1)
        await asyncio.sleep(0.05)
        assert not begun.is_set()  # not decoded either: the cores are taken
        lone.gate.set()
        assert_same((await first)[0], alone(predictor, IMAGES[0], "five_crop"))
        assert_same((await second)[0], alone(predictor, IMAGES[1], "none"))
        assert lone.batches == [5]
        assert recorder.batches == [1]

    run(predictor, body, side_by_side=3, threads=3, lone=True)


def test_once_images_met_a_few_must_come_alone_first(predictor: Predictor) -> None:
    async def body(batcher: Batcher, recorder: Recorder) -> None:
        lone, held, quiet = lone_of(recorder), Held(predictor), list[bool]()

        def work() -> Job:
            quiet.append(batcher.quiet)
            return predictor.start(IMAGES[0], Options(tta="none"), uncontended=batcher.quiet)

        met = [asked(batcher, held, views=1)]
        await until(held.begun.is_set)
        met.append(asked(batcher, work, views=1))
        await met[1]
        held.free.set()
        await met[0]
        assert (recorder.batches, lone.batches, quiet) == ([1, 1], [], [False])
        for number in range(1, QUIET_IMAGES + 2):
            await until(lambda: batcher._workers.idle == 2)
            await asked(batcher, work, views=1)
            assert len(lone.batches) == max(0, number - QUIET_IMAGES)
            assert quiet[-1] == (number > QUIET_IMAGES)

    run(predictor, body, side_by_side=2, threads=2, lone=True)


def test_an_image_beside_another_takes_one_place(predictor: Predictor) -> None:
    async def body(batcher: Batcher, recorder: Recorder) -> None:
        held = Held(predictor)
        other = asked(batcher, held, views=1)
        await until(held.begun.is_set)
        answer, _ = await asked(batcher, begin(predictor, IMAGES[0], "five_crop"))
        assert_same(answer, alone(predictor, IMAGES[0], "five_crop"))
        assert recorder.batches == [5]
        assert lone_of(recorder).batches == []
        held.free.set()
        await other

    run(predictor, body, side_by_side=2, threads=2, lone=True)


def test_more_views_than_a_batch_may_have_take_the_places_in_turn(predictor: Predictor) -> None:
    async def body(batcher: Batcher, recorder: Recorder) -> None:
        await until(lambda: batcher._workers.idle == 2)
        answer, _ = await asked(batcher, begin(predictor, IMAGES[0], "ten_crop"), views=10)
        assert_same(answer, alone(predictor, IMAGES[0], "ten_crop"))
        assert sum(recorder.batches + lone_of(recorder).batches) == 10
        assert max(recorder.batches + lone_of(recorder).batches) <= 4

    run(predictor, body, side_by_side=2, threads=2, max_batch_views=4, lone=True)


def test_an_image_that_fails_or_leaves_gives_the_places_back(predictor: Predictor) -> None:
    async def body(batcher: Batcher, recorder: Recorder) -> None:
        lone = lone_of(recorder)
        lone.poison = recorder.poison = 7
        with pytest.raises(InferenceFailed):
            await asked(batcher, begin(predictor, plain(7), "none"), views=1)
        lone.gate.clear()
        await until(lambda: batcher._workers.idle == 2)
        left = asked(batcher, begin(predictor, plain(9), "none"), views=1)
        await until(lambda: 9 in lone.shades)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        waiting = asked(batcher, begin(predictor, plain(11), "none"), views=1)
        lone.gate.set()
        assert_same((await waiting)[0], alone(predictor, plain(11), "none"))

    run(predictor, body, side_by_side=2, threads=2, lone=True)
