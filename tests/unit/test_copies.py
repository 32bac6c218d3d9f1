"""Copies of a photo never lie in two parts of a split, and the order of rows changes no split."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.package.manifest import Manifest, TaskName
from tests.support.images import drawn, encoded
from training.cross_fit.deal import deal
from training.data.content.copies import copies_among
from training.data.content.sketch import Sketch
from training.data.dataset import Split, split, trained_split, validation
from training.data.flat_folder import chosen_for_reports
from training.data.item import Item
from training.data.stratify import stratified
from training.recipe import Recipe, Stage

RECIPE = Recipe(summary="x", stages=(Stage(epochs=1, size_px=64),), calibration_share=0.2)


def doubled(folder: Path, each: int = 10) -> Path:
    """Two classes of `each` pictures, each of them twice: ``train/<class>/*``."""
    for offset, name in enumerate(("cat", "dog")):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(each):
            file = folder / "train" / name / f"{number:02}.png"
            file.write_bytes(encoded(drawn(8, 9, 100 * offset + number)))
            shutil.copyfile(file, file.with_name(f"copy of {file.name}"))
    return folder


def contents(items: object) -> set[bytes]:
    return {item.path.read_bytes() for item in items}  # type: ignore[attr-defined]


def test_only_files_of_equal_content_are_copies(tmp_path: Path) -> None:
    start = bytes(100_000)
    for name, content in {"a": start, "b": start, "c": start[:-1] + b"x", "d": b""}.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in ("a", "b", "c", "d", "missing", "a")]
    found = copies_among(paths)
    assert set(found) == {tmp_path / "a", tmp_path / "b"}
    assert len(set(found.values())) == 1


def test_copies_are_held_out_together_and_a_note_counts_them(tmp_path: Path) -> None:
    images = split(doubled(tmp_path), RECIPE)
    assert len(images.calibration) == 8
    assert not contents(images.train) & contents(images.calibration)
    assert any("20 images are copies of other images" in note for note in images.notes)
    old = split(tmp_path, replace(RECIPE, split_by="order"))
    assert contents(old.train) & contents(old.calibration)
    assert not old.notes


def test_copies_with_other_labels_are_a_warning(tmp_path: Path) -> None:
    train = doubled(tmp_path) / "train"
    shutil.copyfile(train / "cat" / "03.png", train / "dog" / "oops.png")
    (warning,) = [note for note in split(tmp_path, RECIPE).notes if "other labels" in note]
    assert warning.startswith("warning: 1 image has copies with other labels")
    assert "oops.png" in warning


def test_folds_keep_copies_together(tmp_path: Path) -> None:
    for fold in deal(split(doubled(tmp_path), RECIPE), 3, 42):
        assert not contents(fold.train) & contents(fold.calibration)
        assert fold.calibration


@pytest.mark.parametrize("numbers", [[0.1] * 3, [0.1, 0.1, 0.1, 0.4], [0.3, 0.3, 0.4, 0.4]])
def test_the_bounds_of_small_classes_part_no_copies(
    numbers: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item(tmp_path / str(at), "cat") for at in range(len(numbers))]
    by_path = {item.path: number for item, number in zip(items, numbers, strict=True)}
    number = dict(enumerate(by_path))
    monkeypatch.setattr("training.data.flat_folder.seeded", lambda at, _: by_path[number[at]])
    chosen = chosen_for_reports(items, 0.2, 0, digest=list(by_path).index)
    rest = [item for item in items if item not in chosen]
    assert not {by_path[one.path] for one in chosen} & {by_path[one.path] for one in rest}
    assert rest
    assert bool(chosen) == (len(set(numbers)) > 1)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@given(
    groups=st.lists(st.integers(1, 4), min_size=2, max_size=25),
    share=st.sampled_from([0.05, 0.2, 0.5]),
    seed=st.integers(0, 5),
)
def test_a_split_with_copies_is_a_split(
    task: TaskName, groups: list[int], share: float, seed: int
) -> None:
    items = [
        Item(Path(f"{group}-{copy}"), f"c{group % 2}")
        for group, count in enumerate(groups)
        for copy in range(count)
    ]
    copies = {item.path: int(item.path.name.split("-")[0]) for item in items}
    rest, taken = stratified(items, share, seed, task, copies)
    assert sorted(map(str, (*rest, *taken))) == sorted(map(str, items))
    assert not {copies[item.path] for item in rest} & {copies[item.path] for item in taken}
    if task == "single_label":
        assert {item.label for item in rest} == {item.label for item in items}
        wanted = share * len(items)
        assert len(taken) <= wanted + 2 * 4
    alone = {item.path: at for at, item in enumerate(items)}
    assert stratified(items, share, seed, task, alone) == stratified(items, share, seed, task)


def table(folder: Path, *, with_split: bool) -> Path:
    """A table of twenty rows per class."""
    header, lines = "path,label" + ",split" * with_split, list[str]()
    for number in range(40):
        (folder / f"{number:02}.png").write_bytes(encoded(drawn(8, 9, number)))
        line = f"{number:02}.png,{('cat', 'dog')[number % 2]}"
        lines.append(line + f",{('train', 'val')[number % 5 == 0]}" * with_split)
    (folder / "data.csv").write_text("\n".join([header, *lines]))
    return folder / "data.csv"


def sort_otherwise(file: Path) -> None:
    header, *lines = file.read_text().splitlines()
    random.Random(5).shuffle(lines)
    file.write_text("\n".join([header, *lines]))


def provenance(images: Split, recipe: Recipe) -> dict[str, object]:
    return {
        "recipe": recipe.to_json(),
        "dataset": {
            "fingerprint": images.fingerprint(),
            "content": Sketch.of(item.path for item in images.train).to_json(),
            "training_images": len(images.train),
            "calibration_images": len(images.calibration),
        },
    }


@pytest.mark.parametrize("with_split", [True, False])
def test_sorting_a_table_changes_no_split(tmp_path: Path, package: Path, with_split: bool) -> None:
    file = table(tmp_path, with_split=with_split)
    before = split(file, RECIPE)
    trained = Manifest.model_validate_json((package / "manifest.json").read_bytes())
    trained = trained.model_copy(update={"provenance": provenance(before, RECIPE)})
    reported = {item.path for item in validation(file, trained)}
    sort_otherwise(file)
    assert split(file, RECIPE) == before
    assert {item.path for item in validation(file, trained)} == reported
    assert not reported & set(before.paths())


def test_a_sorted_table_is_not_the_data_of_an_older_package(tmp_path: Path) -> None:
    """Its calibration images would be others, and the package was trained on them."""
    file, old = table(tmp_path, with_split=True), replace(RECIPE, split_by="order")
    known = provenance(split(file, old), old)
    assert trained_split(file, known) == split(file, old)
    sort_otherwise(file)
    assert trained_split(file, known) is None


def test_recipes_of_earlier_versions_split_by_order() -> None:
    saved = RECIPE.to_json()
    assert Recipe.from_json(saved).split_by == "content"
    del saved["split_by"]
    assert Recipe.from_json(saved).split_by == "order"
