"""How a scoring run ends early, in threads and in processes: by an error, or by its consumer."""

import threading
from collections.abc import Iterator

import psutil
import pytest

from service.errors import InferenceFailed, UsageError
from service.inference.predictor import Predictor
from service.scoring.item import Item, Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.pipeline import score_items
from service.scoring.scorer import Scorer
from tests.support.scoring import drawn_items, located, rows_of

pytestmark = pytest.mark.parametrize("processes", [0, 2], ids=["threads", "processes"])


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """Every thread and process that a test starts has ended with its run."""
    threads, processes = threading.active_count(), psutil.Process().children()
    yield
    assert threading.active_count() == threads
    assert not set(psutil.Process().children()) - set(processes)


def speed(processes: int) -> Speed:
    return Speed(batch_views=8, chunk_images=4, decode_threads=3, decode_processes=processes)


def test_an_error_of_the_source_ends_the_run(predictor: Predictor, processes: int) -> None:
    def items() -> Iterator[tuple[Position, Item]]:
        yield from located(drawn_items(9))
        raise UsageError("the list is gone")

    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    with pytest.raises(UsageError, match="the list is gone"):
        list(score_items(items(), scorer, speed(processes)))


def test_a_failing_runtime_ends_the_run_and_blames_no_image(
    predictor: Predictor, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise InferenceFailed("out of memory")

    monkeypatch.setattr(type(predictor.session), "run", fail)
    with pytest.raises(InferenceFailed, match="out of memory"):
        rows_of(Scorer(predictor, ScoreOptions(top_k=1), 8), drawn_items(9), speed(processes))


def test_a_consumer_that_leaves_stops_the_run(predictor: Predictor, processes: int) -> None:
    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    chunks = score_items(located(drawn_items(50)), scorer, speed(processes))
    assert len(next(chunks)) == 4
    if processes:
        assert psutil.Process().children()
    chunks.close()
