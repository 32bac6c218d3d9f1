"""Both parts of a split have the same mix of labels."""

import random
from collections import Counter
from pathlib import Path

import pytest

from service.package.manifest import TaskName
from training import recipe
from training.data.dataset import split
from training.data.item import Item
from training.data.stratify import stratified, with_every_label


def items(labels: list[str]) -> list[Item]:
    return [Item(Path(f"{number:05}.png"), label) for number, label in enumerate(labels)]


def test_the_share_of_every_class_is_rounded() -> None:
    made = items(["ant"] * 40 + ["bee"] * 30 + ["cat"] * 90)
    rest, taken = stratified(made, 0.05, 1)
    assert Counter(item.label for item in taken) == {"ant": 2, "bee": 2, "cat": 4}
    assert {*rest, *taken} == set(made)
    assert stratified(made, 0.05, 1) == (rest, taken)
    assert stratified(made, 0.05, 2) != (rest, taken)


def test_a_thousand_small_classes_have_their_share_together() -> None:
    made = items([f"c{n % 1000:04}" for n in range(9000)] + ["large"] * 100)
    rest, taken = stratified(made, 0.05, 0)
    counts = Counter(item.label for item in taken)
    assert counts.pop("large") == 5
    assert len(taken) == 455
    assert set(counts.values()) == {1}
    assert len({item.label for item in rest}) == 1001


def test_the_only_image_of_a_class_is_trained_on() -> None:
    rest, taken = stratified(items([f"c{n}" for n in range(50)]), 0.2, 0)
    assert (len(rest), taken) == (50, [])


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 50)])
def test_none_and_all(share: float, count: int) -> None:
    for task in ("single_label", "multi_label"):
        assert len(stratified(items(["a"] * 25 + ["b"] * 25), share, 0, task)[1]) == count


def test_labels_that_come_together_are_shared_out_each() -> None:
    dice = random.Random(0)
    often = {"sky": 0.6, "tree": 0.3, "dog": 0.1, "kite": 0.02}
    made = items([";".join(k for k, p in often.items() if dice.random() < p) for _ in range(1000)])
    rest, taken = stratified(made, 0.2, 7, "multi_label")
    assert {*rest, *taken} == set(made)
    assert abs(len(taken) - 200) <= 4
    whole = Counter(label for item in made for label in item.labels)
    part = Counter(label for item in taken for label in item.labels)
    for label, count in whole.items():
        assert abs(part[label] - 0.2 * count) <= 2, label
    assert stratified(made, 0.2, 7, "multi_label") == (rest, taken)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_no_share_takes_all_images_of_a_label(task: TaskName, share: float) -> None:
    made = items(["ant"] * 40 + ["bee"] * 2 + ["cat"] + ["dog"] * 3)
    pair = {made[40].path: 0, made[41].path: 0}  # the two bees are copies
    rest, taken = with_every_label(*stratified(made, share, 1, task, pair), task, pair)
    assert {item.label for item in rest} == {"ant", "bee", "cat", "dog"}
    assert sorted([*rest, *taken], key=lambda item: item.path) == made
    assert (made[40] in rest) == (made[41] in rest)
    assert taken


def test_large_shares_leave_every_class_to_train_on(tmp_path: Path) -> None:
    labels = ["ant"] * 20 + ["bee"] * 2 + ["cat"]
    for number in range(len(labels)):
        (tmp_path / f"{number}.png").write_bytes(b"%d" % number)
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    table = tmp_path / "t.csv"
    table.write_text(f"path,label\n{rows}")
    made = recipe.load("small-cpu", ["validation_share=0.6", "calibration_share=0.6"])
    found = split(table, made)
    assert found.classes == ("ant", "bee", "cat")
    assert {item.label for item in found.train} == {"ant", "bee", "cat"}
    assert found.calibration
