"""Scores of a feedback log, by hand."""

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from service.errors import DataError
from service.feedback.given import GivenAnswer
from service.feedback.row import FeedbackRow
from service.package.package import ModelPackage
from tests.support.tiny import tiny_package
from training.evaluation.feedback.measure import Share, measure_feedback
from training.evaluation.feedback.show import feedback_notes, feedback_tables

ANSWER = GivenAnswer("tiny@1", "red", 0.9, "int8", "dense", None, None, None, 1.0)


def row(
    label: str | None, predicted: str | None = "red", *, foreign: bool = False, **answer: object
) -> FeedbackRow:
    given = None if predicted is None else replace(ANSWER, label=predicted, **answer)
    return FeedbackRow(datetime.now(UTC), "id", 0, label, foreign, None, "server", given)


ROWS = [
    row("red"), row("Red", "red"), row("red", tta="none"), row("green"), row("green", "green"),
    row("green"), row("blue", "green"), row(None, "blue"),
    row(None, foreign=True), row(None, foreign=True, is_unknown=True),
    row("purple"), row("red", None), row("red", model="tiny@2"), row("red", model="other@1"),
]  # fmt: skip


def test_scores_by_hand(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    rows = [one if one.label != "Red" else replace(one, label="red") for one in ROWS]
    scores = measure_feedback(rows, manifest)
    assert scores.right == Share(4, 8)
    assert scores.by_mode == {"dense": Share(3, 7), "none": Share(1, 1)}
    assert scores.by_class == {"red": Share(3, 3), "green": Share(1, 3), "blue": Share(0, 1)}
    assert scores.confused == (("green", "red", 2), ("blue", "green", 1))
    assert scores.wrong_without_label == {"blue": 1}
    assert scores.foreign_found == Share(1, 2)
    assert scores.strange_labels == {"purple": 1}
    assert scores.unknown_ids == 1
    assert scores.other_models == {"tiny@2": 1, "other@1": 1}
    low, high = scores.right.interval
    assert (low, high) == pytest.approx((0.157, 0.843), abs=5e-4)  # Clopper and Pearson's tables
    facts = scores.facts()
    assert facts["right"] == {
        "count": 4, "images": 8, "share": 0.5, "interval": [round(low, 6), round(high, 6)]
    }  # fmt: skip
    printed = Console(width=100, record=True, file=StringIO())
    printed.print(feedback_tables(scores, manifest))
    text = printed.export_text()
    assert "50.0 (15.7 to 84.3)" in text
    assert "Blue" in text
    assert len(list(feedback_notes(scores))) == 4


def test_a_row_may_have_the_name_of_its_class(tmp_path: Path) -> None:
    """The server stores it where it no longer serves the model of the answer."""
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    scores = measure_feedback([row("Red"), row("Green"), row("Green", "green")], manifest)
    assert scores.right == Share(2, 3)
    assert scores.confused == (("green", "red", 1),)


def test_classes_of_a_multi_label_package(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "multi", task="multi_label")
    manifest = ModelPackage.load(package).manifest
    rows = [row("blue;red", "blue;red"), row("red", "blue;red"), row("blue;green", "")]
    scores = measure_feedback(rows, manifest)
    assert scores.right == Share(1, 3)
    assert scores.by_class == {"red": Share(2, 2), "green": Share(0, 1), "blue": Share(1, 2)}


def test_a_log_without_answers_of_the_package_is_refused(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    with pytest.raises(DataError, match=r"tiny@1: of 2 rows 1 .* 1 .*other@1"):
        measure_feedback([row("red", None), row("red", model="other@1")], manifest)
