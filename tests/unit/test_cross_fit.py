"""Cross-fitting: every image is answered by a network that was not trained on it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from tests.support.tiny import tiny_package
from training.calibration.calibrate import calibrate
from training.calibration.calibration_logits import CalibrationLogits, collect_logits
from training.calibration.configurations import first_passes
from training.cross_fit.deal import deal
from training.cross_fit.fold import Fold
from training.data.dataset import Item, Split, scan


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    folds=st.integers(2, 5),
    seed=st.integers(0, 5),
)
def test_each_image_is_in_one_fold_and_each_class_in_every_training(
    counts: list[int], folds: int, seed: int
) -> None:
    items = [Item(Path(f"{c}-{i}"), f"{c}") for c, n in enumerate(counts) for i in range(n)]
    classes = tuple(f"{c}" for c in range(len(counts)))
    dealt = deal(Split(classes, tuple(items), ()), folds, seed)
    answered = Counter(item for split in dealt for item in split.calibration)
    assert set(answered.values()) <= {1}
    assert {item for item in items if counts[int(item.label)] >= folds} <= set(answered)
    for split in dealt:
        assert {item.label for item in split.train} == set(classes)
        assert {*split.train} | {*split.calibration} == set(items)
        assert not {*split.train} & {*split.calibration}


def test_labels_of_several_classes_are_dealt_too() -> None:
    items = [Item(Path(f"{i}"), ("a", "b", "a;b", "")[i % 4]) for i in range(40)]
    dealt = deal(Split(("a", "b"), tuple(items), (), "multi_label"), 3, 0)
    assert sum(len(split.calibration) for split in dealt) == 40
    assert all(len(split.calibration) >= 10 for split in dealt)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    data = drawn_dataset(tmp_path_factory.mktemp("data") / "data", train=1, val=6)
    return list(scan(data / "val"))


def test_answers_of_folds_are_joined_as_if_one_network_gave_them(
    items: list[Item], tmp_path: Path
) -> None:
    folder = tiny_package(tmp_path / "tiny")
    firsts = first_passes(ModelPackage.load(folder).manifest, cheaper=False)
    whole = collect_logits(folder, "fp32", items, firsts)
    parts = [collect_logits(folder, "fp32", items[a:b], firsts) for a, b in ((0, 7), (7, 18))]
    joined = CalibrationLogits.joined(parts)
    np.testing.assert_array_equal(joined.labels, whole.labels)
    for mode, views in whole.views.items():
        np.testing.assert_allclose(joined.views[mode], views, atol=1e-4)
    np.testing.assert_allclose(
        joined.first_passes[0].logits, whole.first_passes[0].logits, atol=1e-4
    )


def test_a_package_is_calibrated_on_the_answers_of_folds(items: list[Item], tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    other = tiny_package(tmp_path / "other")
    before = ModelPackage.load(other).manifest
    manifest = calibrate(folder, [], folds=[Fold(other, items)], log=lambda _: None)
    assert manifest.calibration_for("fp32", "adaptive").gate is not None
    assert manifest.provenance["calibration"] == {"images": 18, "networks": 1}
    both = calibrate(folder, items[:4], folds=[Fold(other, items[4:])], log=lambda _: None)
    assert both.provenance["calibration"] == {"images": 18, "networks": 2}
    assert ModelPackage.load(other).manifest == before
