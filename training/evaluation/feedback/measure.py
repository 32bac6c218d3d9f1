"""Measure the answers of one package by the rows of a feedback log."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.errors import DataError
from service.feedback.given import joined
from service.feedback.row import FeedbackRow
from service.package.labels import LabelIndex
from service.package.manifest import Manifest
from service.scoring.task import SCORING_TASKS
from training.evaluation.metrics import share_interval

Split = Callable[[str], tuple[str, ...] | None]
"""A text with labels -> the labels."""


@dataclass(frozen=True)
class Share:
    """How many of the images of a group, with the exact 95% interval of the share."""

    count: int
    images: int

    @property
    def share(self) -> float:
        return self.count / self.images

    @property
    def interval(self) -> tuple[float, float]:
        return share_interval(self.count, self.images)

    def facts(self) -> dict[str, Any]:
        """For JSON; a group without images has no share."""
        counts: dict[str, Any] = {"count": self.count, "images": self.images}
        if not self.images:
            return counts | {"share": None, "interval": None}
        interval = [round(end, 6) for end in self.interval]
        return counts | {"share": round(self.share, 6), "interval": interval}


@dataclass(frozen=True)
class FeedbackScores:
    """The answers of one package, measured by feedback. Each answer counts once."""

    right: Share
    """Right answers, of all images that are not foreign."""
    by_mode: dict[str, Share]
    """The same for each mode."""
    by_class: dict[str, Share]
    """For each true class: the images whose answer has it."""
    confused: tuple[tuple[str, str, int], ...]
    """(right class, class in the answer, images), the most frequent first."""
    wrong_without_label: dict[str, int]
    """Wrong answers whose right class is not known, by the class in the answer."""
    foreign_found: Share
    """Images of no class whose answer said that they are unknown."""
    strange_labels: dict[str, int]
    """Labels that the package does not have, with their rows. These rows are left out."""
    unknown_ids: int
    """Feedback about answers that the server did not know. These rows are left out."""
    other_models: dict[str, int]
    """Feedback about answers of other models or versions. These rows are left out."""

    def facts(self) -> dict[str, Any]:
        """The scores as JSON."""
        return {
            "right": self.right.facts(),
            "by_mode": {mode: share.facts() for mode, share in self.by_mode.items()},
            "by_class": {name: share.facts() for name, share in self.by_class.items()},
            "confused": [
                {"label": label, "predicted": predicted, "images": images}
                for label, predicted, images in self.confused
            ],
            "wrong_without_label": self.wrong_without_label,
            "foreign_found": self.foreign_found.facts(),
            "strange_labels": self.strange_labels,
            "unknown_ids": self.unknown_ids,
            "other_models": self.other_models,
        }


def measure_feedback(rows: Sequence[FeedbackRow], manifest: Manifest) -> FeedbackScores:
    """Score the answers of the package that `manifest` describes.

    Raises:
        DataError: no row is about an answer of this package.
    """
    tag = f"{manifest.name}@{manifest.version}"
    of_package = [row for row in rows if row.answer is not None and row.answer.model == tag]
    others = Counter(row.answer.model for row in rows if row.answer and row.answer.model != tag)
    unknown_ids = sum(row.answer is None for row in rows)
    if not of_package:
        raise DataError(
            f"no feedback is about an answer of {tag}: of {len(rows)} rows {unknown_ids} have no "
            f"known answer, and {sum(others.values())} are about other models "
            f"({', '.join(sorted(others)[:10]) or 'none'})"
        )
    index = LabelIndex(manifest.labels)
    split = SCORING_TASKS[manifest.task].labels_in
    own = [row for row in of_package if not row.foreign]
    foreign = [row for row in of_package if row.foreign]
    read = [(row, _classes(row.label, index, split)) for row in own]
    strange = Counter(str(row.label) for row, classes in read if classes is None)
    kept = [(_by_id(row, classes), classes) for row, classes in read if classes is not None]
    return FeedbackScores(
        right=_right(row for row, _ in kept),
        by_mode={
            mode: _right(row for row, _ in kept if _mode(row) == mode)
            for mode in sorted({_mode(row) for row, _ in kept})
        },
        by_class=_by_class(kept, manifest, split),
        confused=_confused(row for row, _ in kept),
        wrong_without_label=dict(
            Counter(_predicted(row) for row, _ in kept if row.label is None).most_common()
        ),
        foreign_found=_right(foreign),
        strange_labels=dict(strange.most_common()),
        unknown_ids=unknown_ids,
        other_models=dict(others.most_common()),
    )


def _classes(label: str | None, index: LabelIndex, split: Split) -> tuple[str, ...] | None:
    """The ids of the true classes; empty if they are not known; None if one is strange."""
    if label is None:
        return ()
    found = [index.find(part) for part in split(label) or ()]
    known = tuple(sorted(part for part in found if part is not None))
    return known if len(known) == len(found) else None


def _by_id(row: FeedbackRow, classes: tuple[str, ...]) -> FeedbackRow:
    """The row with the ids of its classes: the log has names where the model was not served."""
    return row if row.label is None else replace(row, label=joined(classes))


def _right(rows: Iterable[FeedbackRow]) -> Share:
    listed = list(rows)
    return Share(sum(row.outcome == "right" for row in listed), len(listed))


def _mode(row: FeedbackRow) -> str:
    return (row.answer and row.answer.tta) or "not known"


def _predicted(row: FeedbackRow) -> str:
    return row.answer.label if row.answer else ""


def _by_class(
    kept: Sequence[tuple[FeedbackRow, tuple[str, ...]]], manifest: Manifest, split: Split
) -> dict[str, Share]:
    images, right = Counter[str](), Counter[str]()
    for row, classes in kept:
        given = split(_predicted(row)) or ()
        images.update(classes)
        right.update(label for label in classes if label in given)
    return {
        label.id: Share(right[label.id], images[label.id])
        for label in manifest.labels
        if images[label.id]
    }


def _confused(rows: Iterable[FeedbackRow]) -> tuple[tuple[str, str, int], ...]:
    counts = Counter(
        (row.label, _predicted(row))
        for row in rows
        if row.label is not None and row.outcome == "wrong"
    )
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple((label, predicted, images) for (label, predicted), images in ranked)
