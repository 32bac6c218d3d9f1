"""The batch size that makes views cheap, with a clock that the batches themselves move."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.batch_cost import enough_views
from service.inference.engine import MAX_BATCH_VIEWS
from service.inference.predictor import Predictor
from tests.support.app import in_process
from tests.support.tiny import tiny_package


def measured(
    seconds: Callable[[int], float], most: int, delays: tuple[float, ...] = ()
) -> tuple[int, list[int]]:
    """The size that is enough, and the batches that were run. `delays` slow down the first ones."""
    now, sizes = [0.0], list[int]()

    def run(views: int) -> None:
        delay = delays[len(sizes)] if len(sizes) < len(delays) else 0.0
        sizes.append(views)
        now[0] += seconds(views) + delay

    return enough_views(run, most, lambda: now[0]), sizes


@pytest.mark.parametrize(
    ("each_ms", "once_ms", "enough"),
    [
        pytest.param(14.4, 0.0, 1, id="fp32 at 192 px: a batch saves nothing"),
        pytest.param(3.9, 0.45, 2, id="int8 at 192 px: two views are cheap"),
        pytest.param(0.25, 0.46, 32, id="int8 at 64 px: a batch saves much"),
        pytest.param(0.0, 5.0, 32, id="a batch costs as much as a view"),
    ],
)
def test_the_smallest_size_with_cheap_views_is_enough(
    each_ms: float, once_ms: float, enough: int
) -> None:
    assert measured(lambda views: (once_ms + each_ms * views) / 1000, 32)[0] == enough


def test_a_linear_network_is_run_with_few_views_only() -> None:
    assert measured(lambda views: 0.0039 * views, 32)[1] == [1, 2, 4] * 5


@pytest.mark.parametrize(("each_s", "tries"), [(0.0144, 3), (0.15, 2)])
def test_a_slow_network_is_run_less_often(each_s: float, tries: int) -> None:
    """Five tries take half a second at 14.4 ms for each view, and 5 s at 150 ms."""
    assert measured(lambda views: each_s * views, 32)[1] == [1, 2, 4] * tries


def test_a_disturbed_run_does_not_count() -> None:
    """Without the best of five, slow first runs of one view would make two look cheap."""
    delays = (0.009, 0.0, 0.0, 0.009, 0.03, 0.005)
    assert measured(lambda views: 0.01 * views, 32, delays)[0] == 1


@given(st.lists(st.floats(0.99, 1.01), min_size=3, max_size=3))
def test_times_that_differ_by_two_percent_give_the_same_size(noise: list[float]) -> None:
    """Those of the shipped model in int8, as starts on a busy machine measure them."""
    factors: dict[int, float] = dict(zip((1, 2, 4), noise, strict=True))
    assert measured(lambda views: (0.45 + 3.9 * views) * factors[views], 4)[0] == 2


@given(st.floats(0, 100), st.floats(0.001, 100), st.integers(1, 70))
def test_the_size_is_within_its_limits(once: float, each: float, most: int) -> None:
    enough, sizes = measured(lambda views: once + each * views, most)
    assert 1 <= enough <= most
    assert max(sizes) <= most


def test_a_session_is_measured(tmp_path: Path) -> None:
    predictor = Predictor.from_package(tiny_package(tmp_path / "tiny"), threads=1)
    assert 1 <= predictor.enough_views <= MAX_BATCH_VIEWS


@pytest.mark.parametrize(
    ("settings", "enough"),
    [
        pytest.param({}, 3, id="as measured"),
        pytest.param({"max_batch_views": 7}, 7, id="a limit that was set is not measured"),
    ],
)
async def test_a_server_forms_batches_of_the_measured_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], enough: int
) -> None:
    monkeypatch.setattr(Predictor, "enough_views", 3)
    async with in_process(tiny_package(tmp_path / "tiny"), **settings) as running:
        assert running.models.get().batcher._limits.enough_views == enough


@pytest.mark.parametrize(
    ("change", "again"),
    [
        pytest.param({"version": "2"}, False, id="the same graph"),
        pytest.param({"version": "2", "classes": 5}, True, id="another graph"),
        pytest.param({"version": "2", "crop_px": 32}, True, id="another size"),
    ],
)
async def test_a_reload_of_the_same_work_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], again: bool
) -> None:
    measurements: list[str] = []

    def enough_views(predictor: Predictor) -> int:
        measurements.append(predictor.manifest.version)
        return 3

    monkeypatch.setattr(Predictor, "enough_views", property(enough_views))
    package = tiny_package(tmp_path / "tiny")
    async with in_process(package) as running:
        tiny_package(package, **change)
        await running.models.load()
        assert running.models.get().version == "2"
        assert running.models.get().batcher._limits.enough_views == 3
        assert measurements == (["1", "2"] if again else ["1"])
