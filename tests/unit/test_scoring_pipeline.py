"""The pipeline: rows in order, bounded, equal to one image at a time, ended by any error."""

import random
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from service.errors import UsageError
from service.inference.engine import run_all
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from service.scoring import score
from service.scoring.item import Item, Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.pipeline import score_items
from service.scoring.scorer import Prepared, Scorer, whole_array
from tests.support.images import coloured, drawn, encoded
from tests.support.scoring import drawn_items, image_folder, located, rows_of

SPEED = Speed(batch_views=8, chunk_images=4, decode_threads=3)


@pytest.mark.parametrize("tta", ["none", "five_crop", "dense", "adaptive"])
def test_a_row_is_what_the_library_answers(predictor: Predictor, tta: str) -> None:
    options = Options(tta=tta)  # type: ignore[arg-type]
    scorer = Scorer(predictor, ScoreOptions(options, top_k=3, all_probabilities=True), 8)
    items = drawn_items(11)
    for row, item in zip(rows_of(scorer, items, SPEED), items, strict=True):
        (answer,) = run_all(
            [predictor.start(predictor.decode(item.read()), options)], predictor.session
        )
        assert row.path == item.path
        assert row.probabilities is not None
        np.testing.assert_allclose(row.probabilities, answer.probabilities, atol=1e-6)
        assert (row.passes, row.cost) == (answer.passes, answer.cost)


def test_threads_change_nothing_to_the_last_bit(predictor: Predictor) -> None:
    options = ScoreOptions(Options(tta="five_crop"), top_k=3, all_probabilities=True)
    items = drawn_items(30)
    speeds = [Speed(8, 4, threads) for threads in (1, 2, 7)]
    results = [rows_of(Scorer(predictor, options, 8), items, speed) for speed in speeds]
    assert [[row.probabilities for row in rows] for rows in results[1:]] == [
        [row.probabilities for row in results[0]]
    ] * 2


def test_a_run_from_the_middle_is_the_rest_of_the_run(predictor: Predictor) -> None:
    scorer = Scorer(predictor, ScoreOptions(top_k=3, all_probabilities=True), 8)
    items = drawn_items(21)
    whole = rows_of(scorer, items, SPEED)
    for start in range(0, 21, SPEED.chunk_images):
        rest = rows_of(scorer, items[start:], SPEED)
        assert [r.probabilities for r in rest] == [r.probabilities for r in whole[start:]]


def test_bad_images_fail_alone(predictor: Predictor) -> None:
    items = drawn_items(12)
    items[0] = Item("text.png", b"no image")
    items[5] = Item("missing.png")
    items[6] = Item("shard.tar", error="DataError: the archive breaks off")
    items[11] = Item("empty.png", b"")
    rows = rows_of(Scorer(predictor, ScoreOptions(top_k=1), 8), items, SPEED)
    assert {n: row.error.split(":")[0] for n, row in enumerate(rows) if row.error} == {
        0: "BadImage",
        5: "FileNotFoundError",
        6: "DataError",
        11: "BadImage",
    }
    assert [row.position.image for row in rows] == list(range(12))


def test_no_more_is_read_than_the_queues_hold(predictor: Predictor) -> None:
    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    data = encoded(coloured("red", 64, 64))
    read, taken, most = 0, 0, 0

    def items() -> Iterator[tuple[Position, Item]]:
        nonlocal read
        for number in range(200):
            read += 1
            yield Position(0, number), Item(f"{number}", data)

    for chunk in score_items(items(), scorer, SPEED):
        taken += len(chunk)
        most = max(most, read - taken)
    assert taken == 200
    # Looked ahead, in the chunk that is formed, in the one that runs, and one being handed on.
    assert most <= max(4, 2 * 3) + 3 * 4 + 1


@pytest.mark.parametrize("tta", ["none", "five_crop", "ten_crop", "dense", "adaptive"])
@pytest.mark.parametrize("large", [False, True])
def test_an_image_counts_what_it_keeps_in_memory(
    predictor: Predictor, tta: Mode, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views share the resized image; only `adaptive` keeps a decoded one until the gate decides."""
    if large:
        monkeypatch.setattr("service.inference.tta.steps.HELD_BYTES", 1)
    scorer = Scorer(predictor, ScoreOptions(Options(tta=tta), top_k=1), 8)
    prepared = scorer.prepare(Item("a.png", encoded(drawn(400, 600))), Position(0, 0))
    views = [view for one in prepared.in_progress for view in one.views]
    resized = {id(array): array.nbytes for array in (whole_array(v.pixels) for v in views)}
    decoded = 400 * 600 * 4 if tta == "adaptive" and not large else 0
    assert prepared.held_bytes == sum(resized.values()) + decoded
    assert 64 * 64 * 3 <= sum(resized.values()) < 400 * 600


def test_large_images_that_are_freed_share_a_chunk(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk ends at a number of bytes that are held, and decoded pixels are not held."""
    monkeypatch.setattr("service.scoring.groups.CHUNK_BYTES", 400 * 600)
    items = [Item(f"{n}.png", encoded(drawn(400, 600, seed=n))) for n in range(4)]
    scorer = Scorer(predictor, ScoreOptions(Options(tta="none"), top_k=1), 8)
    assert [len(chunk) for chunk in score_items(located(items), scorer, SPEED)] == [4]


def test_large_images_wait_for_room(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scoring.pipeline.LOOKAHEAD_BYTES", 1)
    monkeypatch.setattr("service.scoring.groups.CHUNK_BYTES", 1)
    rows = rows_of(Scorer(predictor, ScoreOptions(top_k=1), 8), drawn_items(20), SPEED)
    assert [row.path for row in rows] == [f"{n}.png" for n in range(20)]


def test_labels_come_from_folders_and_columns(predictor: Predictor) -> None:
    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    data = encoded(coloured("red", 64, 64))
    labels = {
        ("x/red/a.png", None): "red",
        ("x/Green/a.png", None): "green",
        ("x/2/a.png", None): None,  # an index is a label in a column, not as a folder's name
        ("red/x/a.png", None): None,
        ("red/a.png", ""): None,
        ("red/a.png", "blue"): "blue",
        ("a.png", "1"): "green",
        ("a.png", "Red"): "red",
        ("a.png", "pink"): "pink",  # no class of the model: it counts as answered wrong
        ("s.tar/red/a.png", None): "red",
    }
    items = [Item(path, data, label) for path, label in labels]
    assert [row.label for row in rows_of(scorer, items, SPEED)] == list(labels.values())


def test_the_python_api(tmp_path: Path, package: Path) -> None:
    folder = image_folder(tmp_path / "photos", each=2)
    (folder / "red" / "bad.png").write_bytes(b"bad")
    rows = list(score(folder, package, tta="dense", single=True, sha256=True))
    assert [row.label for row in rows] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 3
    for row in rows[:-1]:
        assert row.ok
        assert row.top[0].id == row.label
        assert row.single is not None
        assert row.single.id == row.label
        assert len(row.sha256 or "") == 64
    assert rows[-1].error is not None
    with pytest.raises(UsageError, match="coverage"):
        score(folder, package, coverage=2.0)
    with pytest.raises(UsageError, match="nowhere"):
        score(tmp_path / "nowhere", package)


def test_random_order_of_decoding_is_not_seen(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that finish in any order: a barrier of events makes the later ones come first."""
    release = [threading.Event() for _ in range(6)]
    items = drawn_items(6)
    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    original = scorer.prepare
    order = [5, 4, 3, 2, 1, 0]
    random.Random(3).shuffle(order)
    following = dict(pairwise(order))
    release[order[0]].set()

    def prepare(item: Item, position: Position) -> Prepared:
        release[position.image].wait(20)
        prepared = original(item, position)
        if position.image in following:
            release[following[position.image]].set()
        return prepared

    monkeypatch.setattr(scorer, "prepare", prepare)
    rows = rows_of(scorer, items, Speed(8, 6, 6))
    assert [row.path for row in rows] == [item.path for item in items]
