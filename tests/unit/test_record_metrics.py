"""`evaluate --record` of some modes: no row and no comparison that still holds is lost."""

from pathlib import Path

import pytest

from service.errors import UsageError
from service.package.card.document import CARD
from service.package.manifest import Manifest, Mode
from service.package.package import ModelPackage
from service.package.recorded.sets import letters
from service.package.verify import check_statements
from tests.support.images import COLOURS, coloured, encoded
from tests.support.measured import OTHERS, PAIR, row, with_metrics
from tests.support.tiny import tiny_package
from training.data.item import Item
from training.evaluation.evaluate import evaluate
from training.evaluation.record import merged, record_metrics
from training.export.change import write_change

MODES: list[Mode] = ["none", "five_crop", "adaptive"]


@pytest.fixture(scope="module", name="manifest")
def _manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return ModelPackage.load(tiny_package(tmp_path_factory.mktemp("m") / "tiny")).manifest


@pytest.fixture(scope="module", name="items")
def _items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder, names, items = tmp_path_factory.mktemp("data"), list(COLOURS), list[Item]()
    for index in range(24):
        path = folder / f"{index}.png"
        path.write_bytes(encoded(coloured(names[(index + (index % 5 == 0)) % 3], seed=index)))
        items.append(Item(path, names[index % 3]))
    return items


def test_a_repeated_row_keeps_its_comparisons(manifest: Manifest) -> None:
    said: list[str] = []
    old = with_metrics(manifest).metrics
    again = row("int8", "adaptive", manifest, against_single=None, against_fp32=None)
    assert merged(old, [again], said.append) == old
    assert said == []


def test_a_row_of_0_5_that_is_repeated_keeps_them_too(manifest: Manifest) -> None:
    old = with_metrics(manifest, digests=False).metrics
    again = row("int8", "adaptive", manifest, against_single=None, against_fp32=None)
    found = {(one.precision, one.mode): one for one in merged(old, [again], print)}
    assert found["int8", "adaptive"].against_fp32 == PAIR
    assert len(found) == len(old)


def test_another_result_drops_the_comparisons_with_it(manifest: Manifest) -> None:
    said: list[str] = []
    old = with_metrics(manifest).metrics
    other = row("fp32", "none", manifest, top1=0.8, images_digest=OTHERS)
    found = {(one.precision, one.mode): one for one in merged(old, [other], said.append)}
    assert found["fp32", "none"].top1 == 0.8
    assert found["fp32", "dense"].against_single is None
    assert found["int8", "none"].against_fp32 is None
    assert found["int8", "dense"].against_single == PAIR
    assert "fp32 dense with fp32 none" in said[0]
    assert "int8 none with fp32 none" in said[0]
    assert "kept metrics of other images" in said[1]
    assert "int8 adaptive" in said[1]


def test_a_new_comparison_replaces_the_old_one(manifest: Manifest) -> None:
    old = with_metrics(manifest).metrics
    fresh = PAIR.model_copy(update={"corrected": 7})
    new = row("int8", "dense", manifest, top1=0.7, against_single=fresh, against_fp32=None)
    found = {(one.precision, one.mode): one for one in merged(old, [new], print)}
    assert found["int8", "dense"].against_single == fresh
    assert found["int8", "dense"].against_fp32 is None


def test_rows_of_other_images_get_another_letter(manifest: Manifest) -> None:
    rows = [
        row("fp32", "none"),  # recorded by 0.5: of the images that have the same number
        row("fp32", "dense", manifest),
        row("int8", "none", manifest, images=50),
        row("int8", "dense", manifest, images_digest=OTHERS),
    ]
    assert letters(rows) == ["A", "A", "B", "C"]
    assert letters(rows[:2]) == []
    assert letters([]) == []


def test_precisions_recorded_one_by_one_end_as_if_recorded_together(
    tmp_path: Path, items: list[Item]
) -> None:
    folder = tiny_package(tmp_path / "tiny")
    record_metrics(folder, evaluate(folder, items, MODES))
    together, card = ModelPackage.load(folder).manifest, (folder / CARD).read_text()
    record_metrics(folder, evaluate(folder, items, ["adaptive"], ["int8"]))
    record_metrics(folder, evaluate(folder, items, ["none"], ["fp32"]))
    assert ModelPackage.load(folder).manifest == together
    assert (folder / CARD).read_text() == card
    assert "| int8 | adaptive | fp32 adaptive |" in card
    check_statements(ModelPackage.load(folder))


def test_metrics_of_a_package_that_changed_meanwhile_are_refused(
    tmp_path: Path, items: list[Item]
) -> None:
    folder = tiny_package(tmp_path / "tiny")
    measured = evaluate(folder, items, ["none", "dense"], ["int8"])
    read = ModelPackage.load(folder)
    entries = tuple(
        entry.model_copy(update={"temperature": 3.0}) if entry.mode == "dense" else entry
        for entry in read.manifest.calibration
    )
    write_change(read, read.manifest.model_copy(update={"calibration": entries}), print)
    with pytest.raises(UsageError, match="changed while int8 dense was measured, so nothing was"):
        record_metrics(folder, measured)
    assert ModelPackage.load(folder).manifest.metrics == ()
