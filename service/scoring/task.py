"""What scoring does differently for each task: labels in tables, columns, and counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from service.inference.tta.task import split_labels
from service.package.manifest import Manifest, TaskName
from service.scoring.summary.label_tally import LabelTally
from service.scoring.summary.tally import Tally
from service.scoring.uncertainty import Uncertainty, of_one_class, of_several_classes


@dataclass(frozen=True)
class ScoringTask:
    """One task, from the label of an image to the summary."""

    labels_in: Callable[[str], tuple[str, ...] | None]
    """The labels in a cell of a table; None: the true classes of the image are not known."""
    folder_is_label: bool
    """Without a table, the folder of an image may name its class."""
    columns: tuple[tuple[str, pa.DataType], ...]
    """Columns that only this task has."""
    uncertainty: Callable[[Any, Sequence[float] | None], Uncertainty]
    """(probabilities float64[K], thresholds of the classes) -> margin and entropy."""
    tally: Callable[[tuple[str, ...]], Tally]
    """The counter for the rows of a run, from the ids of the classes."""


def _one_label(cell: str) -> tuple[str, ...] | None:
    return (cell,) if cell.strip() else None


_LABELS: tuple[tuple[str, Any], ...] = (("labels", pa.list_(pa.string())),)

SCORING_TASKS: dict[TaskName, ScoringTask] = {
    "single_label": ScoringTask(
        _one_label, folder_is_label=True, columns=(), uncertainty=of_one_class, tally=Tally
    ),
    "multi_label": ScoringTask(
        split_labels,
        folder_is_label=False,
        columns=_LABELS,
        uncertainty=of_several_classes,
        tally=LabelTally,
    ),
}


def tally_of(manifest: Manifest) -> Tally:
    """The counter for the rows of a run of this model."""
    labels = tuple(label.id for label in manifest.labels)
    return SCORING_TASKS[manifest.task].tally(labels)
