"""What service and training do for each task: one entry in each table."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from service.inference.tta.task import TASKS
from service.package.manifest import Manifest, ModeCalibration, TaskName
from service.package.task_rules import TASK_RULES
from service.scoring.task import SCORING_TASKS
from training.data.item import Item
from training.task import TRAINING_TASKS, load, named_functions

ITEM = Item(Path("a.png"), "dog;cat")


def test_every_task_is_in_every_table() -> None:
    for table in (TASKS, TASK_RULES, SCORING_TASKS, TRAINING_TASKS):
        assert set(table) == set(get_args(TaskName))


def test_only_the_tables_and_the_reader_of_data_ask_for_the_task() -> None:
    root = Path(__file__).parents[2]
    asked = re.compile(r"""[=!]= ?["'](single|multi)_label["']""")
    files = [p for room in ("service", "training") for p in (root / room).rglob("*.py")]
    found = {str(p.relative_to(root)) for p in files if asked.search(p.read_text("utf-8"))}
    assert found <= {"training/data/table.py"}


def test_the_rules_of_a_manifest_name_its_fields() -> None:
    for rules in TASK_RULES.values():
        assert rules.foreign_metrics in Manifest.model_fields
        assert set(rules.not_fitted) <= set(ModeCalibration.model_fields)


def test_labels_in_a_cell() -> None:
    one, several = (SCORING_TASKS[task].labels_in for task in ("single_label", "multi_label"))
    assert [one(cell) for cell in ("a;b", " ")] == [("a;b",), None]
    assert [several(cell) for cell in ("a; b", " ")] == [("a", "b"), ()]


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
import sys, training.task, training.data.dataset, service.package.card.document
found = {"torch", "fastai", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)
