"""The driver of generators: steps, answers, and batches of several generators together."""

from collections.abc import Sequence

import numpy as np
import pytest

from service.inference.engine import Done, InProgress, run_all, run_views, step
from service.inference.runtime.session import Output
from service.inference.tta.passes import StepsOf, View
from tests.support.backends import NoEmbedding


class Sums(NoEmbedding):
    """A network whose result is the sum of a view's pixels; keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(
        self, views: np.ndarray, output: Output, windows: np.ndarray | None = None
    ) -> np.ndarray:
        self.batches.append(len(views))
        return views.reshape(len(views), -1).sum(1, keepdims=True).astype(np.float32)


def view(value: int, side: int = 2) -> View:
    return View(np.full((side, side, 3), value, np.uint8), "logits")


def total_of(rounds: Sequence[Sequence[int]], side: int = 2) -> StepsOf[float]:
    total = 0.0
    for values in rounds:
        results = yield [view(value, side) for value in values]
        total += sum(float(result[0]) for result in results)
    return total


def test_a_step_returns_views_and_at_the_end_the_answer() -> None:
    steps = total_of([[1, 2], [3]])
    first = step(steps)
    assert isinstance(first, list)
    assert len(first) == 2
    second = step(steps, [np.ones(1, np.float32)] * 2)
    assert isinstance(second, list)
    assert len(second) == 1
    assert step(steps, [np.ones(1, np.float32)]) == Done(3.0)


def test_an_answer_cannot_be_read_before_the_end() -> None:
    image = InProgress(total_of([[1]]))
    assert not image.ended
    with pytest.raises(RuntimeError, match="before the generator ended"):
        _ = image.answer
    image.send([np.full(1, 7, np.float32)])
    assert image.ended
    assert image.answer == 7.0
    assert image.views == []
    assert image.pixels_run == 12


def test_a_generator_that_wants_no_views_ends_at_its_start() -> None:
    assert run_all([total_of([])], Sums()) == [0.0]


def test_an_error_of_a_generator_is_raised() -> None:
    def broken() -> StepsOf[float]:
        yield [view(1)]
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_all([total_of([[1]]), broken()], Sums())


def test_generators_share_batches_and_keep_their_order() -> None:
    network = Sums()
    answers = run_all([total_of([[1, 2], [3]]), total_of([[4]]), total_of([[5], [6]])], network)
    assert answers == [72.0, 48.0, 132.0]
    assert network.batches == [4, 2]


def test_views_of_each_shape_run_in_batches_of_their_own() -> None:
    network = Sums()
    views = [view(1), view(1, side=1), view(2), view(3), view(2, side=1)]
    results = run_views(views, network, max_batch_views=2)
    assert [float(result[0]) for result in results] == [12, 3, 24, 36, 6]
    assert sorted(network.batches) == [1, 2, 2]
