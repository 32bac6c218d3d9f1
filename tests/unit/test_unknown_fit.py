"""The unknown score as calibration fits it: held to the answers that are served."""

from pathlib import Path

import numpy as np
import pytest

from service.errors import UsageError
from service.inference.predictor import Predictor
from service.package.manifest import Mode
from service.package.package import ModelPackage
from service.package.parts import MAX_STATISTICS_BYTES
from tests.support.embedded import embedding_package
from tests.support.images import COLOURS, coloured, encoded
from tests.support.tiny import tiny_package
from training.calibration.calibrate import calibrate, calibrate_unknown
from training.calibration.unknown import KNOWN_RATES, curve_of
from training.calibration.unknown_statistics import Statistics, directions_for, scale_of
from training.data.dataset import scan
from training.data.item import Item
from training.export.embedding import embed_package

MODES: tuple[Mode, ...] = (
    "none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive",
)  # fmt: skip
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module", name="items")
def _items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Photos of several shapes. One in seven is mislabelled, so that the gate has work."""
    folder, names = tmp_path_factory.mktemp("data"), list(COLOURS)
    for index in range(49):
        shown = names[(index + (index % 7 == 0)) % 3]
        path = folder / names[index % 3] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        wide = 420 if index % 9 == 0 else 120  # so wide that dense is five exact crops
        path.write_bytes(encoded(coloured(shown, 80 + index, wide, seed=index)))
    return list(scan(folder))


def embedded(folder: Path) -> Path:
    tiny_package(folder)
    embed_package(folder, log=lambda _: None)
    return folder


@pytest.fixture(scope="module", name="fitted")
def _fitted(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Path:
    folder = embedded(tmp_path_factory.mktemp("models") / "tiny")
    calibrate(folder, items, training=items, log=lambda _: None)
    return folder


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_thresholds_are_ranks_of_the_scores_that_are_served(
    fitted: Path, items: list[Item], precision: str, mode: Mode
) -> None:
    predictor = Predictor.from_package(fitted, precision=precision, provider="cpu")  # type: ignore[arg-type]
    answers = predictor.classify([item.path.read_bytes() for item in items], mode)
    scores = np.array([one.unknown.score for one in answers if one.unknown is not None])
    assert len(scores) == len(items)
    entry = predictor.model.calibration(mode)
    assert entry.unknown_curve is not None
    for (rate, threshold), expected in zip(entry.unknown_curve, curve_of(scores), strict=True):
        assert rate == expected[0]
        assert threshold == pytest.approx(expected[1], abs=2e-3)
        assert np.mean(scores <= threshold + 2e-3) >= rate
    reference = entry.reference
    assert reference is not None
    assert reference.images == len(items)
    tops = [one.probability for one in answers]
    expected_tops = np.histogram(tops, 20, (0, 1))[0] / len(items)
    np.testing.assert_allclose(reference.top_probability, expected_tops, atol=0.05)
    answered = np.bincount([one.top[0].index for one in answers], minlength=3) / len(items)
    np.testing.assert_allclose(reference.classes, answered, atol=1e-5)
    for shares in (reference.top_probability, reference.classes, reference.unknown):
        assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_the_package_holds_a_small_verified_file(fitted: Path) -> None:
    package = ModelPackage.load(fitted)
    unknown = package.manifest.unknown
    assert unknown is not None
    assert unknown.held_out
    assert unknown.size_bytes == (fitted / unknown.file).stat().st_size <= MAX_STATISTICS_BYTES
    assert unknown.known_rate == 0.95
    assert package.unknown is not None
    assert [path.name for path in fitted.glob("*.npy")] == [unknown.file]


def test_another_fit_replaces_the_file_and_only_unknown_changes_nothing_else(
    tmp_path: Path, items: list[Item]
) -> None:
    folder = embedded(tmp_path / "tiny")
    calibrate(folder, items, training=items[:30], log=lambda _: None)
    before = ModelPackage.load(folder).manifest
    calibrate_unknown(folder, items, log=lambda _: None)
    after = ModelPackage.load(folder).manifest
    assert before.unknown is not None
    assert after.unknown is not None
    assert not after.unknown.held_out
    assert after.unknown.file != before.unknown.file
    assert [path.name for path in folder.glob("*.npy")] == [after.unknown.file]
    plain = {"unknown": None, "calibration": ()}
    assert before.model_copy(update=plain) == after.model_copy(update=plain)
    none = {"unknown_curve": None, "reference": None}
    for one, other in zip(before.calibration, after.calibration, strict=True):
        assert one.model_copy(update=none) == other.model_copy(update=none)


def test_packages_without_embeddings_are_calibrated_without_a_score(
    tmp_path: Path, items: list[Item]
) -> None:
    said: list[str] = []
    folder = tiny_package(tmp_path / "tiny")
    manifest = calibrate(folder, items, training=items, log=said.append)
    assert manifest.unknown is None
    assert all(entry.unknown_curve is None for entry in manifest.calibration)
    assert any("quincunx add-embedding" in line for line in said)


def test_few_images_lower_the_rate_that_is_promised(tmp_path: Path, items: list[Item]) -> None:
    folder = embedded(tmp_path / "tiny")
    manifest = calibrate(folder, items[:12], training=items, log=lambda _: None)
    assert manifest.unknown is not None
    assert manifest.unknown.known_rate == 0.9
    predictor = Predictor.from_package(folder, precision="fp32", provider="cpu")
    (prediction,) = predictor.classify([items[0].path.read_bytes()])
    assert prediction.unknown is not None
    assert prediction.unknown.known_rate == 0.9


def test_only_unknown_needs_a_calibrated_package_of_one_label(
    tmp_path: Path, items: list[Item]
) -> None:
    many = embedding_package(tmp_path / "many", task="multi_label")
    with pytest.raises(UsageError, match="multi-label, and has no unknown score"):
        calibrate_unknown(many, items)
    with pytest.raises(UsageError, match="was not calibrated"):
        calibrate_unknown(embedding_package(tmp_path / "new"), items)


def test_without_training_images_thresholds_come_from_scores_of_other_folds(
    tmp_path: Path,
) -> None:
    """Each fitted on itself, calibration images would look more known than new images do."""
    path = tmp_path / "data"
    for index in range(60):
        name = list(COLOURS)[index % 3]
        file = path / name / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(coloured(name, 90, 90, seed=index)))
    items = list(scan(path))
    own, crossed = (embedded(tmp_path / name) for name in ("own", "crossed"))
    itself = calibrate(own, items, training=items, log=lambda _: None)
    others = calibrate(crossed, items, log=lambda _: None)
    for manifest in (itself, others):
        assert manifest.unknown is not None
    assert itself.unknown is not None
    assert others.unknown is not None
    assert itself.unknown.images == others.unknown.images == 60
    first, second = (m.calibration_for("fp32", "none").unknown_curve for m in (itself, others))
    assert first != second


@pytest.mark.parametrize("images", [1, 18, 19, 49, 50, 199, 475, 1000])
def test_a_curve_promises_only_what_so_many_scores_can_show(images: int) -> None:
    scores = RANDOM.normal(size=images)
    curve = curve_of(scores)
    rates = [rate for rate, _ in curve]
    assert rates == [rate for rate in KNOWN_RATES if rate <= images / (images + 1) + 1e-12]
    for rate, threshold in curve:
        assert np.mean(scores <= threshold + 1e-6) >= rate


def test_the_share_of_new_images_below_a_threshold_is_the_rate() -> None:
    shares = [
        np.mean(RANDOM.normal(size=500) <= dict(curve_of(RANDOM.normal(size=475)))[0.95])
        for _ in range(200)
    ]
    assert np.mean(shares) == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize(
    ("images", "channels", "classes", "expected"),
    [
        (2000, 512, 10, 32), (2000, 2048, 10, 32), (2000, 512, 100, 200), (2000, 512, 1000, 256),
        (2000, 4096, 1000, 126), (40, 512, 10, 10), (2000, 3, 3, 1), (2000, 1, 3, 0), (3, 8, 2, 0),
        (100_000, 65_536, 1000, 6),
    ],
)  # fmt: skip
def test_directions_fit_the_images_the_channels_and_the_file(
    images: int, channels: int, classes: int, expected: int
) -> None:
    found = directions_for(images, channels, classes)
    assert found == expected
    assert (found + 1) * channels * 2 + 128 <= MAX_STATISTICS_BYTES


def test_statistics_find_the_directions_in_which_embeddings_vary() -> None:
    basis = np.linalg.qr(RANDOM.normal(size=(64, 64)))[0]
    spread = np.array([5.0] * 20 + [0.01] * 44)
    embeddings = RANDOM.normal(size=(500, 64)) * spread @ basis.T + 3
    found = Statistics.of(embeddings, 10)
    assert found.directions.shape == (32, 64)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(32), atol=5e-3)
    inside = found.directions @ basis[:, :20]
    assert np.linalg.svd(inside)[1].min() > 0.99


def test_one_value_has_a_spread_that_divides() -> None:
    scale = scale_of(np.full(50, -7.5))
    assert scale.centre == -7.5
    assert scale.spread > 0
