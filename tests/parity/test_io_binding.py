"""Fixed buffers and padded buckets give what plain runs give, on any provider."""

from pathlib import Path

import numpy as np
import pytest

from service.inference.predictor import Predictor
from service.inference.runtime import providers
from service.inference.runtime.io_binding import BUCKETS, bucket, fill
from service.inference.runtime.session import Session

PROVIDERS = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(
            providers.choose("auto") != "cuda", reason="needs a GPU and its driver"
        ),
    ),
]


@pytest.fixture(scope="module", name="sessions")
def _sessions(package: Path, request: pytest.FixtureRequest) -> tuple[Session, Session]:
    path = Predictor.from_package(package, precision="fp32").package.path("fp32")
    return Session.open(path, provider="cpu"), Session.open(
        path, provider=request.param, io_binding=True
    )


@pytest.mark.parametrize("sessions", PROVIDERS, indirect=True)
def test_bound_equals_plain_at_every_batch_and_shape(sessions: tuple[Session, Session]) -> None:
    plain, bound = sessions
    random = np.random.default_rng(0)
    for views in (1, 2, 3, 5, 8, 33, 70):
        for height, width in ((64, 64), (96, 160), (64, 64)):
            batch = random.integers(0, 256, (views, height, width, 3), np.uint8)
            for output in ("logits", "class_map"):
                got = bound.run(batch, output)
                expected = plain.run(batch, output)
                assert got.shape == expected.shape
                np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("sessions", PROVIDERS, indirect=True)
def test_a_result_is_not_overwritten_by_the_next_run(sessions: tuple[Session, Session]) -> None:
    _, bound = sessions
    dark, light = (np.full((2, 64, 64, 3), value, np.uint8) for value in (10, 240))
    first = bound.run(dark, "logits")
    kept = first.copy()
    bound.run(light, "logits")
    np.testing.assert_array_equal(first, kept)


def test_buckets_hold_their_views() -> None:
    for views in range(1, BUCKETS[-1] + 1):
        size = bucket(views)
        assert size in BUCKETS
        assert size >= views
        assert not [b for b in BUCKETS if views <= b < size]
        assert size - views <= 3 * size / 8
    batch = np.arange(3 * 4, dtype=np.uint8).reshape(3, 4)
    filled = np.full((4, 4), 99, np.uint8)
    fill(filled, batch)
    np.testing.assert_array_equal(filled[:3], batch)
    np.testing.assert_array_equal(filled[3], batch[0])
