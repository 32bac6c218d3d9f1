"""The rules for a manifest and its card that depend on the task, as data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.package.manifest import TaskName


@dataclass(frozen=True)
class TaskRules:
    """The fields that the manifest of a model with this task must not have."""

    foreign_metrics: str
    """The field with the metrics of the other task."""
    not_fitted: tuple[str, ...]
    """Fields of `ModeCalibration` that have no meaning for the task."""
    not_fitted_text: str
    """These fields in words."""
    adaptive: bool
    """`adaptive` may be the default mode: its gate asks about one true class."""
    ids_share_a_cell: bool
    """A cell of a table may hold several ids with `;` between them."""
    card_kind: str
    """The model card: what kind of classifier it is."""
    card_answers: str
    """The model card: what it answers, as a sentence that begins with "it"."""


TASK_RULES: "dict[TaskName, TaskRules]" = {
    "single_label": TaskRules(
        foreign_metrics="multi_label_metrics",
        not_fitted=("thresholds",),
        not_fitted_text="thresholds",
        adaptive=True,
        ids_share_a_cell=False,
        card_kind="classifier",
        card_answers="gives every image one of them, also an image of something else",
    ),
    "multi_label": TaskRules(
        foreign_metrics="metrics",
        not_fitted=("conformal", "gate", "gate_curve", "unknown_curve"),
        not_fitted_text="a gate, prediction sets or an unknown curve",
        adaptive=False,
        ids_share_a_cell=True,
        card_kind="multi-label classifier (any number of classes in an image, or none)",
        card_answers="says yes or no for each of them, also for an image of something else",
    ),
}
