"""Views of several models' kinds share batches by shape and windows, and answer as each alone."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.inference.engine import run_all
from service.inference.image.geometry import Box
from service.inference.predictor import Predictor
from service.inference.tta.passes import View
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from tests.support.batching import LONG_S, alone, assert_same, batching, begin
from tests.support.images import drawn
from tests.support.kinds import KINDS, Drawn, kind_package

# Two squares of one size after resizing, one wide, one tall, and one that takes five crops.
IMAGES = [
    drawn(h, w, seed=i)
    for i, (h, w) in enumerate([(90, 90), (144, 144), (100, 160), (170, 97), (60, 400)])
]
MODES: list[Mode] = ["none", "five_crop", "dense", "centre_dense"]


@pytest.fixture(scope="module", params=["class_map", "average", "maximum"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    drawn_kind: Drawn = request.param
    folder = kind_package(tmp_path_factory.mktemp("kinds") / "k", drawn_kind, 16)
    return Predictor.from_package(folder, provider="cpu", threads=1)


JOBS = st.lists(
    st.tuples(st.integers(0, len(IMAGES) - 1), st.sampled_from(MODES)), min_size=1, max_size=10
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JOBS, max_batch_views=st.integers(1, 9), max_concurrent_batches=st.integers(1, 2))
async def test_every_answer_equals_the_one_by_one_answer(
    model: Predictor,
    jobs: list[tuple[int, Mode]],
    max_batch_views: int,
    max_concurrent_batches: int,
) -> None:
    async with batching(
        model, max_batch_views=max_batch_views, max_concurrent_batches=max_concurrent_batches
    ) as (batcher, _):

        async def one(image: int, mode: Mode):
            work = begin(model, IMAGES[image], mode)
            return (await batcher.submit(work, views=1, timeout_s=LONG_S))[0]

        answers = await asyncio.gather(*(one(*job) for job in jobs))
    for (image, mode), answer in zip(jobs, answers, strict=True):
        assert_same(answer, alone(model, IMAGES[image], mode))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JOBS, max_batch_views=st.integers(1, 9))
def test_run_all_equals_one_by_one(
    model: Predictor, jobs: list[tuple[int, Mode]], max_batch_views: int
) -> None:
    generators = [model.start(IMAGES[image], Options(tta=mode)) for image, mode in jobs]
    for (image, mode), answer in zip(
        jobs, run_all(generators, model.session, max_batch_views), strict=True
    ):
        assert_same(answer, alone(model, IMAGES[image], mode))


def test_views_with_other_windows_share_no_batch() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    one, other = Box(0, 0, 48, 48), Box(16, 16, 48, 48)
    keys = {
        View(pixels, "window_logits", (one,)).key,
        View(pixels, "window_logits", (other,)).key,
        View(pixels, "window_logits", (one, other)).key,
        View(pixels, "logits").key,
    }
    assert len(keys) == 4
    assert View(pixels + 1, "window_logits", (one,)).key in keys


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_server_warms_up_every_kind(tmp_path: Path, kind: str) -> None:
    predictor = Predictor.from_package(
        kind_package(tmp_path / "k", *KINDS[kind]), provider="cpu", threads=1
    )
    predictor.warm_up(batch_views=4, max_concurrent_batches=2)
