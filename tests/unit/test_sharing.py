"""Jobs on one image that share views: each is answered as if it were alone."""

from collections.abc import Generator, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.inference.engine import run_all
from service.inference.runtime.session import Output
from service.inference.tta.passes import Results, View
from tests.support.backends import NoEmbedding
from training.evaluation.shared_views import shared

Steps = Generator[list[View], Results, tuple[float, ...]]


class Sums(NoEmbedding):
    """A network whose logit is the sum of a view's pixels; counts the views it saw."""

    def __init__(self) -> None:
        self.views = 0

    def run(
        self, views: np.ndarray, output: Output, windows: np.ndarray | None = None
    ) -> np.ndarray:
        self.views += len(views)
        scale = 1 if output == "logits" else 1000
        return scale * views.reshape(len(views), -1).sum(1, keepdims=True).astype(np.float32)


def view(value: int, output: Output = "logits") -> View:
    return View(np.full((2, 2, 3), value, np.uint8), output)


def job(rounds: Sequence[Sequence[int]], output: Output = "logits") -> Steps:
    found: list[float] = []
    for values in rounds:
        results = yield [view(value, output) for value in values]
        found += [float(result[0]) for result in results]
    return tuple(found)


ROUNDS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=3)


@given(jobs=st.lists(ROUNDS, max_size=5))
def test_every_job_is_answered_as_if_alone_and_no_view_runs_twice(
    jobs: list[list[list[int]]],
) -> None:
    network = Sums()
    (answers,) = run_all([shared(job(rounds) for rounds in jobs)], network) if jobs else ([],)
    assert answers == [tuple(12.0 * v for values in rounds for v in values) for rounds in jobs]
    assert network.views == len({v for rounds in jobs for values in rounds for v in values})


def test_one_view_for_two_outputs_runs_for_each() -> None:
    network = Sums()
    (answers,) = run_all([shared([job([[1]]), job([[1]], "class_map")])], network)
    assert answers == [(12.0,), (12000.0,)]
    assert network.views == 2
