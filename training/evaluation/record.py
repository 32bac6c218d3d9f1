"""Store the results of an evaluation in the package: in its manifest and its model card."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from service.errors import UsageError
from service.package.manifest import Manifest, Metrics, MultiLabelMetrics
from service.package.package import ModelPackage
from service.package.recorded.dependence import answers_digest
from service.package.recorded.holding import name_of
from service.package.recorded.metrics import PAIRS, Row, reference_of
from service.package.recorded.sets import letters, same_images
from training.evaluation.evaluate import Evaluation
from training.evaluation.multi_label import LabelEvaluation
from training.export.change import write_change

AnyRow = TypeVar("AnyRow", Metrics, MultiLabelMetrics)
Log = Callable[[str], None]
NOT_MEASURED = {"images_digest", "answers_digest", *PAIRS}


def record_metrics(folder: Path, measured: Evaluation, log: Log = print) -> None:
    """Add the metrics of the measured precisions and modes; keep those of others: see `merged`.

    Raises:
        UsageError: the package was changed while it was measured.
    """
    package = ModelPackage.load(folder)
    new = measured.metrics()
    _check_measured(new, package.manifest)
    rows = merged(package.manifest.metrics, new, log)
    write_change(package, package.manifest.model_copy(update={"metrics": rows}), log)


def record_label_metrics(folder: Path, measured: LabelEvaluation, log: Log = print) -> None:
    """The same for a multi-label package."""
    package = ModelPackage.load(folder)
    new = [row.metrics(measured.manifest) for row in measured.rows]
    _check_measured(new, package.manifest)
    rows = merged(package.manifest.multi_label_metrics, new, log)
    write_change(package, package.manifest.model_copy(update={"multi_label_metrics": rows}), log)


def merged(old: Sequence[AnyRow], new: Sequence[AnyRow], log: Log) -> tuple[AnyRow, ...]:
    """The rows of `old`, with those of `new` in their places or after them.

    A comparison with a row that was not measured this time is taken over from the old row if the
    new row repeats it, value by value. A kept row loses the comparison with a row that was measured
    again with another result. `log` says so.
    """
    before = {_key(row): row for row in old}
    after = {_key(row): row for row in new}
    changed = {
        key for key, row in after.items() if key in before and not _repeats(row, before[key])
    }
    rows = {key: after.get(key, row) for key, row in before.items()} | after
    lost: list[str] = []
    for key, row in rows.items():
        for pair in PAIRS:
            known = getattr(before.get(key), pair, None)
            if known is None or (key in after and getattr(row, pair) is not None):
                continue
            holds = key not in changed and reference_of(row, pair) not in changed
            if not holds:
                lost.append(f"{name_of(*key)} with {name_of(*reference_of(row, pair))}")
            row = row.model_copy(update={pair: known if holds else None})
        rows[key] = row
    if lost:
        log(
            f"comparisons dropped, because one side has another result now: {', '.join(lost)}. "
            "Measure both sides together to compare them"
        )
    found = tuple(rows.values())
    if letters(found):
        others = [
            name_of(*_key(row))
            for row in found
            if _key(row) not in after and not same_images(row, new[0])
        ]
        if others:
            log(f"kept metrics of other images, marked in the card: {', '.join(others)}")
    return found


def _key(row: Row) -> Any:
    return row.precision, row.mode


def _repeats(new: Row, old: Row) -> bool:
    """Whether both measurements are one: the same images, and every value the same."""
    one, other = new.model_dump(exclude=NOT_MEASURED), old.model_dump(exclude=NOT_MEASURED)
    return one == other and same_images(new, old)


def _check_measured(rows: Sequence[Row], manifest: Manifest) -> None:
    for row in rows:
        if row.answers_digest != answers_digest(manifest, row.precision, row.mode):
            raise UsageError(
                f"{manifest.name} was changed while {name_of(row.precision, row.mode)} was "
                "measured, so nothing was recorded. Run quincunx evaluate again"
            )
