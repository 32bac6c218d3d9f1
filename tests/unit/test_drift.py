"""The population stability index, its windows over workers, and its metrics."""

import asyncio
import gc
import math
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.observability.drift.stability import LEAST_SHARE, merged, stability_index
from service.api.observability.drift.windows import Window
from service.api.observability.ledger import Ledger
from service.api.server.shared_memory import Shared
from service.package.manifest import Mode
from service.package.parts import TOP_PROBABILITY_BINS, Reference
from service.package.reference import reference_of, top_probability_bin, unknown_bin
from tests.support.app import in_process
from tests.support.images import coloured, encoded
from tests.support.references import with_references
from tests.support.tiny import tiny_package

SHARES = st.lists(st.integers(0, 20), min_size=1, max_size=30).filter(any)
EVEN = (0.25,) * 4


def normal(counts: list[int]) -> list[float]:
    return [count / sum(counts) for count in counts]


@given(SHARES.map(normal))
def test_merged_bins_are_a_partition_into_common_ones(expected: list[float]) -> None:
    groups = merged(expected)
    assert [start for start, _ in groups] == [0, *(end for _, end in groups[:-1])]
    assert groups[-1][1] == len(expected)
    assert all(sum(expected[a:b]) >= LEAST_SHARE - 1e-9 for a, b in groups)
    assert len(groups) <= 1 / LEAST_SHARE + 1


def psi(observed: np.ndarray, expected: np.ndarray, images: int) -> float:
    return stability_index(observed.tolist(), expected.tolist(), images)


def test_the_index_by_hand() -> None:
    observed = [600, 200, 100, 100]
    shares = [(count + 0.5) / 1002 for count in observed]
    expected = sum((o - 0.25) * math.log(o / 0.25) for o in shares) - 3 * (1 / 1000 + 1 / 500)
    assert stability_index(observed, EVEN, 500) == pytest.approx(expected)
    assert stability_index([250] * 4, EVEN, 500) == 0
    assert stability_index([0, 0, 0, 0], EVEN, 500) == 0
    assert stability_index([5], (1.0,), 500) == 0


@pytest.mark.parametrize("bins", [4, 20, 1000])
@pytest.mark.parametrize(("answers", "images"), [(500, 200), (1000, 1000), (1000, 50)])
def test_without_a_shift_it_stays_below_the_alarm(bins: int, answers: int, images: int) -> None:
    random = np.random.default_rng(0)
    found: list[float] = []
    for _ in range(200):
        shares = random.dirichlet(np.ones(bins))
        expected = random.multinomial(images, shares) / images
        found.append(psi(random.multinomial(answers, shares), expected, images))
    assert np.mean(np.array(found) > 0.25) < 0.02
    assert np.mean(found) < 0.1


def test_a_shift_is_seen() -> None:
    random = np.random.default_rng(0)
    shares = np.full(1000, 0.001)
    moved = shares * 0.7
    moved[3] += 0.3  # one class of a thousand now has 30% of the answers
    assert psi(random.multinomial(1000, moved), shares, 5000) > 0.25


@given(st.floats(0, 1))
def test_every_probability_has_a_bin(probability: float) -> None:
    assert 0 <= top_probability_bin(probability) < TOP_PROBABILITY_BINS


def test_bins_of_scores() -> None:
    assert [unknown_bin((0.0, 1.0), score) for score in (-1, 0, 0.5, 1, 2)] == [0, 0, 1, 1, 2]
    assert unknown_bin((), 5.0) == 0


@given(st.data())
def test_a_reference_holds_the_shares_of_its_bins(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    tops = data.draw(st.lists(st.floats(0.5, 1), min_size=count, max_size=count))
    scores = data.draw(st.lists(st.floats(-5, 5), min_size=count, max_size=count))
    edges = data.draw(st.lists(st.floats(-5, 5), max_size=5))
    probabilities = np.array([[top, 1 - top, 0] for top in tops])
    got = reference_of(probabilities, np.array(scores), edges)
    assert got.images == count
    assert got.classes[0] == 1
    assert got.unknown_edges == tuple(sorted(set(edges)))
    for bin_ in range(TOP_PROBABILITY_BINS):
        inside = sum(top_probability_bin(top) == bin_ for top in tops)
        assert got.top_probability[bin_] == pytest.approx(inside / count, abs=1e-6)
    for bin_, share in enumerate(got.unknown):
        inside = sum(unknown_bin(got.unknown_edges, score) == bin_ for score in scores)
        assert share == pytest.approx(inside / count, abs=1e-6)
    assert reference_of(probabilities).unknown == ()


def reference(classes: tuple[float, ...] = (0.5, 0.25, 0.25)) -> Reference:
    tops = [0.0] * TOP_PROBABILITY_BINS
    tops[-1] = 1.0
    return Reference(
        images=100, top_probability=tuple(tops), classes=classes,
        unknown_edges=(0.0, 1.0), unknown=(0.5, 0.25, 0.25),
    )  # fmt: skip


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 8))
def test_a_window_counts_the_last_answers(answers: list[int], most: int) -> None:
    ledger = Ledger()
    window = Window(ledger, "tiny@1", {"none": reference()}, most)
    for index in answers:
        window.add("none", index, 0.99, None)
        window.add("dense", index, 0.99, None)  # it has no reference
    counts = {s.labels: n for s, n in ledger.totals().items()}
    last = answers[-most:]
    if answers:
        assert counts["tiny@1", "none", "class"] == [float(last.count(k)) for k in range(3)]
        assert sum(counts["tiny@1", "none", "top_probability"]) == len(last)
    assert ("tiny@1", "none", "unknown_score") not in counts
    window.clear()
    assert sum(sum(n) for n in ledger.totals().values()) == 0


def test_modes_are_compared_with_their_own_references_and_mixed() -> None:
    ledger = Ledger()
    references: dict[Mode, Reference] = {
        "none": reference((1.0, 0.0, 0.0)), "dense": reference((0.0, 1.0, 0.0))
    }  # fmt: skip
    window = Window(ledger, "tiny@1", references, 100)
    for _ in range(50):
        window.add("none", 0, 0.99, -1.0)
        window.add("dense", 1, 0.99, -1.0)
    found = window.indices(ledger.totals(), 100)
    assert found["class"] == 0
    assert found["top_probability"] == 0
    assert found["unknown_score"] > 0.25  # no score is above the first edge
    assert window.indices(ledger.totals(), 101) == {}


def test_windows_of_workers_add_up_and_a_new_worker_begins_with_nothing() -> None:
    shared = Shared.create(workers=1)
    slot = shared.claim()
    here, there = Ledger(shared, slot), Ledger()
    for ledger, index in ((here, 0), (there, 1)):
        window = Window(ledger, "tiny@1", {"none": reference()}, 10)
        for _ in range(10):
            window.add("none", index, 0.99, None)
    series = next(s for s in here.totals() if s.labels[-1] == "class")
    assert here.totals()[series] == [10, 0, 0]
    assert Ledger(shared, slot).totals()[series] == [0, 0, 0]  # every bin, not the first alone


PSI = re.compile(r'quincunx_drift_psi\{model="tiny",version="1",what="(\w+)"\} (\S+)')


@pytest.fixture(scope="module", name="package")
def _package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_references(tiny_package(tmp_path_factory.mktemp("tiny") / "tiny"))


async def test_metrics_of_answers_and_of_a_shift(package: Path) -> None:
    red = encoded(coloured("red"))
    async with in_process(package, drift_window=40) as running:
        client = running.client

        async def scraped() -> tuple[str, dict[str, float]]:
            text = (await client.get("/metrics")).text
            return text, {what: float(value) for what, value in PSI.findall(text)}

        assert (await scraped())[1] == {}
        for _ in range(7):
            for colour in ("red", "green", "blue"):
                image = {"image": encoded(coloured(colour))}
                (await client.post("/classify", files=image)).raise_for_status()
        text, even = await scraped()
        assert even["class"] < 0.1
        assert 'quincunx_predicted_class_total{label="green",model="tiny",version="1"} 7.0' in text
        assert 'quincunx_top_probability_count{model="tiny"} 21.0' in text
        files = [("images", red)] * 40
        (await client.post("/classify_batch?tta=dense", files=files)).raise_for_status()
        text, shifted = await scraped()
        assert shifted["class"] > 0.25
        assert 'quincunx_predicted_class_total{label="red",model="tiny",version="1"} 47.0' in text


async def test_a_window_of_0_switches_the_index_off(package: Path) -> None:
    async with in_process(package, drift_window=0) as running:
        files = [("images", encoded(coloured("red")))] * 4
        (await running.client.post("/classify_batch", files=files)).raise_for_status()
        text = (await running.client.get("/metrics")).text
    assert PSI.findall(text) == []
    assert "quincunx_predicted_class_total{" in text


async def test_a_package_without_references_has_no_index(tmp_path: Path) -> None:
    async with in_process(tiny_package(tmp_path / "tiny"), drift_window=2) as running:
        files = [("images", encoded(coloured("red")))] * 4
        (await running.client.post("/classify_batch", files=files)).raise_for_status()
        assert PSI.findall((await running.client.get("/metrics")).text) == []


async def test_a_reload_begins_a_new_window(package: Path) -> None:
    """The monitor does not keep the old model in memory, even before the next answer."""
    async with in_process(package, drift_window=4) as running:
        files = [("images", encoded(coloured("red")))] * 4
        (await running.client.post("/classify_batch", files=files)).raise_for_status()
        assert "class" in dict(PSI.findall((await running.client.get("/metrics")).text))
        old = weakref.ref(running.models.get())
        await running.models.load()
        for _ in range(1000):
            gc.collect()
            if old() is None:
                break
            await asyncio.sleep(0.01)
        assert old() is None
        (await running.client.post("/classify", files={"image": files[0][1]})).raise_for_status()
        assert PSI.findall((await running.client.get("/metrics")).text) == []
