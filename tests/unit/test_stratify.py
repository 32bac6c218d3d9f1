"""Both parts of a split have the same mix of labels."""

import random
from collections import Counter
from pathlib import Path

import pytest

from training.data.item import Item
from training.data.stratify import stratified


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
