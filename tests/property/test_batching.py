"""Whatever the interleaving, every image gets the answer that it gets alone."""

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import (
    BadImage,
    DeadlineExceeded,
    InferenceFailed,
    Overloaded,
    ShuttingDown,
)
from service.inference.engine import Steps
from service.inference.predictor import Predictor
from service.inference.runtime.session import Output
from service.inference.tta.steps import Classification, Options
from tests.support.backends import NoEmbedding
from tests.support.batching import (
    IMAGES,
    LONG_S,
    Pixels,
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

MODES = ["none", "five_crop", "ten_crop", "dense", "adaptive"]


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    jobs=st.lists(
        st.tuples(st.integers(0, len(IMAGES) - 1), st.sampled_from(MODES), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    ),
    max_batch_views=st.integers(1, 12),
    enough_views=st.integers(1, 12),
    max_concurrent_batches=st.integers(1, 3),
    threads=st.integers(1, 4),
    own_runner=st.booleans(),
    single_request_mode=st.booleans(),
)
async def test_every_answer_equals_the_one_by_one_answer(
    predictor: Predictor,
    jobs: list[tuple[int, str, int]],
    max_batch_views: int,
    enough_views: int,
    max_concurrent_batches: int,
    threads: int,
    own_runner: bool,
    single_request_mode: bool,
) -> None:
    async with batching(
        predictor,
        max_batch_views=max_batch_views,
        enough_views=enough_views,
        max_concurrent_batches=max_concurrent_batches,
        threads=threads,
        own_runner=own_runner,
        single_request_mode=single_request_mode,
    ) as (batcher, recorder):

        async def one(image: int, mode: str, yields: int) -> Classification:
            for _ in range(yields):
                await asyncio.sleep(0)
            work = begin(predictor, IMAGES[image], mode)
            answer, _ = await batcher.submit(work, views=1, timeout_s=LONG_S)
            return answer

        answers = await asyncio.gather(*(one(*job) for job in jobs))
        for (image, mode, _), answer in zip(jobs, answers, strict=True):
            assert_same(answer, alone(predictor, IMAGES[image], mode))
        of_latency = recorder.latency_session.batches if recorder.latency_session else []
        assert max(recorder.batches + of_latency) <= max_batch_views


async def test_views_of_different_requests_share_a_batch(predictor: Predictor) -> None:
    async with batching(predictor, max_batch_views=32) as (batcher, recorder):
        recorder.gate.clear()
        work = begin(predictor, IMAGES[0], "five_crop")
        tasks = [asked(batcher, work)]
        await until(lambda: recorder.batches == [5])
        tasks += [asked(batcher, work) for _ in range(4)]
        await until(lambda: queued(batcher) == 20)
        recorder.gate.set()
        done = await asyncio.gather(*tasks)
        assert recorder.batches == [5, 20]
        assert done[0][1].batches == [5]
        assert done[4][1].batches == [20]


async def test_a_thread_of_its_own_runs_the_batches_and_the_workers_all_else(
    predictor: Predictor,
) -> None:
    ran, begun = set[str](), set[str]()
    async with batching(predictor, own_runner=True) as (batcher, recorder):
        run_batch = recorder.session.run

        class Session(NoEmbedding):
            def run(
                self, views: Pixels, output: Output, windows: NDArray[np.float32] | None = None
            ) -> NDArray[np.float32]:
                ran.add(threading.current_thread().name)
                return run_batch(views, output, windows)

        def work() -> Steps:
            begun.add(threading.current_thread().name)
            return predictor.start(IMAGES[0], Options(tta="five_crop"))

        recorder.session = Session()
        tasks = [asked(batcher, work) for _ in range(4)]
        await asyncio.gather(*tasks)
    assert ran == {"gpu_0"}
    assert all(name.startswith("worker_") for name in begun)


async def test_a_failing_image_fails_alone(predictor: Predictor) -> None:
    async with batching(predictor) as (batcher, recorder):
        recorder.poison = 7
        bad, good = plain(7), plain(200)
        images = [good, bad, good, good, bad, good]
        recorder.gate.clear()
        tasks = [asked(batcher, begin(predictor, images[0], "none"), views=1)]
        await until(lambda: len(recorder.batches) == 1)
        tasks += [asked(batcher, begin(predictor, image, "none"), views=1) for image in images[1:]]
        await until(lambda: queued(batcher) == 5)
        recorder.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [isinstance(result, InferenceFailed) for result in results]
        assert failed == [False, True, False, False, True, False]


async def test_an_image_that_cannot_be_decoded_fails_alone(predictor: Predictor) -> None:
    def broken() -> Steps:
        raise BadImage("broken")

    async with batching(predictor) as (batcher, _):
        good = begin(predictor, IMAGES[1], "dense")
        results = await asyncio.gather(
            *(batcher.submit(w, views=1, timeout_s=LONG_S) for w in (good, broken, good)),
            return_exceptions=True,
        )
        assert [isinstance(result, BadImage) for result in results] == [False, True, False]


async def test_a_cancelled_request_frees_its_place(predictor: Predictor) -> None:
    async with batching(predictor, max_queue_views=10) as (batcher, recorder):
        recorder.gate.clear()
        work = begin(predictor, IMAGES[0], "five_crop")
        first = asked(batcher, work)
        await until(lambda: len(recorder.batches) == 1)
        second = asked(batcher, work)
        await until(lambda: queued(batcher) == 5)
        with pytest.raises(Overloaded, match="QUINCUNX_MAX_QUEUE_VIEWS"):
            await batcher.submit(work, views=5, timeout_s=LONG_S)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = asked(batcher, work)
        await until(lambda: queued(batcher) == 10)
        recorder.gate.set()
        await asyncio.gather(first, third)
        assert recorder.batches == [5, 5]  # the cancelled views never ran


async def test_what_cannot_make_its_deadline_is_refused_at_once(predictor: Predictor) -> None:
    async with batching(predictor) as (batcher, recorder):
        work = begin(predictor, IMAGES[0], "five_crop")
        await batcher.submit(work, views=5, timeout_s=LONG_S)  # learns a rate
        recorder.gate.clear()
        first = asked(batcher, work)
        await until(lambda: len(recorder.batches) == 2)
        with pytest.raises(Overloaded, match="X-Request-Timeout-Ms") as refused:
            await batcher.submit(work, views=5, timeout_s=1e-9)
        assert refused.value.retry_after_s > 0
        recorder.gate.set()
        await first


async def test_an_idle_batcher_admits_whatever_the_estimate(predictor: Predictor) -> None:
    async with batching(predictor) as (batcher, _):
        batcher.admission.seconds_per_view = 1e6  # one slow batch must not lock all out
        work = begin(predictor, IMAGES[0], "none")
        await batcher.submit(work, views=1, timeout_s=LONG_S)


async def test_a_second_pass_is_counted_while_it_waits_and_is_never_refused(
    predictor: Predictor,
) -> None:
    async with batching(predictor, max_queue_views=1) as (batcher, recorder):
        first_gate = recorder.gate
        first_gate.clear()
        work = two_steps(predictor)
        image = asyncio.create_task(batcher.submit(work, views=1, timeout_s=LONG_S))
        await until(lambda: len(recorder.batches) == 1)
        assert batcher.admission.views == 1
        recorder.gate = threading.Event()
        first_gate.set()
        await until(lambda: len(recorder.batches) == 2)
        assert batcher.admission.views == 1 + 3
        recorder.gate.set()
        answer, _ = await image
        assert_same(answer, alone(predictor, plain(10), "none"))


async def test_a_deadline_that_passes_while_waiting_ends_the_wait(predictor: Predictor) -> None:
    async with batching(predictor) as (batcher, recorder):
        recorder.gate.clear()
        work = begin(predictor, IMAGES[0], "none")
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(work, views=1, timeout_s=0.05)
        assert batcher.admission.views == 0


async def test_draining_finishes_what_was_admitted_and_refuses_the_rest(
    predictor: Predictor,
) -> None:
    async with batching(predictor) as (batcher, recorder):
        recorder.gate.clear()
        work = begin(predictor, IMAGES[0], "five_crop")
        admitted = asked(batcher, work)
        await until(lambda: len(recorder.batches) == 1)
        draining = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await batcher.submit(work, views=5, timeout_s=LONG_S)
        assert not draining.done()
        recorder.gate.set()
        answer, _ = await admitted
        assert_same(answer, alone(predictor, IMAGES[0], "five_crop"))
        await draining
