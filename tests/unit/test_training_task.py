"""What training does for each task: the table in `training.task`."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from service.inference.tta.task import TASKS
from service.package.manifest import TaskName
from training.data.item import Item
from training.task import TRAINING_TASKS, load, named_functions

ITEM = Item(Path("a.png"), "dog;cat")


def test_every_task_has_its_facts_for_serving_and_for_training() -> None:
    assert set(TASKS) == set(TRAINING_TASKS) == set(get_args(TaskName))


def test_every_named_function_exists() -> None:
    names = named_functions()
    assert len(names) >= 2 * len(TRAINING_TASKS)
    assert all(callable(load(name)) for name in names)


@pytest.mark.parametrize(
    ("task", "labels", "target"),
    [("single_label", ("dog;cat",), "dog;cat"), ("multi_label", ("cat", "dog"), [0.0, 1.0, 1.0])],
)
def test_the_target_of_an_image(task: TaskName, labels: tuple[str, ...], target: object) -> None:
    assert TRAINING_TASKS[task].labels_of(ITEM) == labels
    assert TRAINING_TASKS[task].target(["bird", "cat", "dog"], ITEM) == target


@pytest.mark.parametrize("task", TRAINING_TASKS)
def test_the_methods_of_evaluate(task: TaskName) -> None:
    methods = TRAINING_TASKS[task].methods()
    assert "dense" in methods
    assert ("fastai_tta" in methods) == TASKS[task].one_is_true


def test_the_table_loads_no_library_of_training() -> None:
    code = """
import sys, training.task, training.data.dataset, training.export.model_card
found = {"torch", "fastai", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)
