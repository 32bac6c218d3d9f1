"""What training does differently for each task: single-label and multi-label.

How logits become probabilities is in `service.inference.tta.task`, under the same names. A function
is named here as `module:name` and imported at its first call. So every folder of training may use
this table, and a command loads torch only if it needs torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.package.manifest import Manifest, TaskName
from training.data.item import Item

if TYPE_CHECKING:
    from rich.console import RenderableType


def load(where: str) -> Any:
    """The object `module:name`."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def call(where: str, *args: Any, **options: Any) -> Any:
    """Call the function `module:name`."""
    return load(where)(*args, **options)


def later(where: str) -> Callable[..., Any]:
    """The function `module:name`, imported when it is called."""
    return partial(call, where)


@dataclass(frozen=True)
class TrainingTask:
    """One task, from labelled files to the model card."""

    labels_of: Callable[[Item], tuple[str, ...]]
    """The true classes of an image."""
    split_off: Callable[..., tuple[list[Item], list[Item]]]
    """(items, share, seed, copies) -> (the rest, the share), both with the same mix of labels."""

    target: Callable[[Sequence[str], Item], str | list[float]]
    """(classes, item) -> what a DataLoader makes the target of."""
    target_block: Callable[[Sequence[str]], Any]
    """fastai's block for these targets, from the classes."""
    targets: Callable[[Sequence[str], Sequence[Item]], Any]
    """(classes, items) -> the tensor of their targets, for the cached loaders."""
    loss: Callable[[float], Any]
    """fastai's loss, from the label smoothing."""
    divergence: Callable[..., Any]
    """(student's logits, teacher's logits, temperature) -> what distillation adds to the loss."""
    metric: Callable[[], Any]
    """fastai's metric: the share of right answers."""
    target_shares: Callable[[Any, Sequence[Any]], list[dict[int, float]]]
    """(learner, mixers) -> for each image of its batch, the share of each class."""

    calibrate: Callable[..., Manifest]
    """See `training.calibration.calibrate.calibrate`."""

    methods: Callable[[], tuple[str, ...]]
    """The names of modes and baselines that `evaluate` takes."""
    evaluate: Callable[..., Any]
    """See `training.evaluation.evaluate.evaluate`. The next four take what it returns."""
    as_json: Callable[[Any], list[dict[str, Any]]]
    terminal_table: "Callable[[Any], RenderableType]"
    write_report: Callable[[Path, Any, Path], Path]
    """(package, evaluation, folder for the report) -> the report."""
    record: Callable[..., None]
    """(package, evaluation, log) -> its metrics are in the package."""


def _one_label(item: Item) -> tuple[str, ...]:
    return (item.label,)


def _all_labels(item: Item) -> tuple[str, ...]:
    return item.labels


def _class(_: Sequence[str], item: Item) -> str:
    return item.label


def _yes_or_no(classes: Sequence[str], item: Item) -> list[float]:
    return [float(name in item.labels) for name in classes]


TRAINING_TASKS: dict[TaskName, TrainingTask] = {
    "single_label": TrainingTask(
        labels_of=_one_label,
        split_off=later("training.data.stratify:by_class"),
        target=_class,
        target_block=later("training.fit.loaders:class_block"),
        targets=later("training.fit.cached.loaders:class_targets"),
        loss=later("training.fit.losses:cross_entropy"),
        divergence=later("training.fit.loop.distillation:class_divergence"),
        metric=partial(load, "fastai.metrics:accuracy"),
        target_shares=later("training.previews.sample_batch:mixed_classes"),
        calibrate=later("training.calibration.calibrate:calibrate_single_label"),
        methods=later("training.evaluation.methods:method_names"),
        evaluate=later("training.evaluation.evaluate:evaluate"),
        as_json=later("training.evaluation.evaluate:as_json"),
        terminal_table=later("training.evaluation.terminal:single_label_table"),
        write_report=later("training.evaluation.report:write_report"),
        record=later("training.evaluation.record:record_metrics"),
    ),
    "multi_label": TrainingTask(
        labels_of=_all_labels,
        split_off=later("training.data.stratify:by_labels"),
        target=_yes_or_no,
        target_block=later("training.fit.loaders:labels_block"),
        targets=later("training.fit.cached.loaders:labels_targets"),
        loss=later("training.fit.losses:binary_cross_entropy"),
        divergence=later("training.fit.loop.distillation:label_divergence"),
        metric=partial(load, "fastai.metrics:accuracy_multi"),
        target_shares=later("training.previews.sample_batch:mixed_labels"),
        calibrate=later("training.calibration.multi_label:calibrate"),
        methods=later("training.evaluation.multi_label:mode_names"),
        evaluate=later("training.evaluation.multi_label:evaluate"),
        as_json=later("training.evaluation.multi_label:as_json"),
        terminal_table=later("training.evaluation.terminal:multi_label_table"),
        write_report=later("training.evaluation.multi_label_report:write_report"),
        record=later("training.evaluation.record:record_label_metrics"),
    ),
}


def named_functions() -> list[str]:
    """Every `module:name` of the table."""
    entries = (value for task in TRAINING_TASKS.values() for value in vars(task).values())
    return [entry.args[0] for entry in entries if isinstance(entry, partial)]
