"""Which metrics of a package still hold after the package changed."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from service.package.manifest import Manifest
from service.package.parts import Mode, Part, Precision
from service.package.recorded.dependence import answers_digest, ranking_digest
from service.package.recorded.metrics import PAIRS, UNCERTAIN, Row, reference_of

AnyPart = TypeVar("AnyPart", bound=Part)


class Change(IntEnum):
    """How much of the answers of a precision and mode changed."""

    NOTHING = 0
    CONFIDENCE = 1
    """The probabilities, but not the order of the classes: top-1 still holds."""
    ANSWERS = 2


@dataclass
class Dropped:
    """What was dropped from the metrics, by the names of rows."""

    rows: list[str] = field(default_factory=list[str])
    confidence: list[str] = field(default_factory=list[str])
    comparisons: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        """Messages for people; empty if nothing was dropped."""
        found: list[str] = []
        if self.rows:
            found.append(f"metrics dropped, because the answers changed: {', '.join(self.rows)}")
        if self.confidence:
            found.append(
                "metrics kept, but without the values that depend on the confidence, which "
                f"changed (NLL, ECE, F1): {', '.join(self.confidence)}"
            )
        if self.comparisons:
            found.append(
                "comparisons dropped, because one side changed: " + ", ".join(self.comparisons)
            )
        if found:
            found.append("quincunx evaluate PACKAGE DATA --record measures again")
        return found


def with_what_holds(old: Manifest, new: Manifest) -> tuple[Manifest, Dropped]:
    """`new`, without the metrics that hold for `old` only, and what was dropped."""
    dropped = Dropped()
    kept = {
        name: tuple(
            held
            for row in getattr(new, name)
            if (held := _held(row, old, new, dropped)) is not None
        )
        for name in ("metrics", "multi_label_metrics")
    }
    return new.model_copy(update=kept), dropped


def answers_differ(old: Manifest, new: Manifest) -> bool:
    """Whether a mode at a precision that was calibrated before gives other probabilities."""
    return any(
        _change(entry.precision, entry.mode, old, new) != Change.NOTHING
        for entry in old.calibration
    )


def name_of(precision: Precision, mode: Mode) -> str:
    """How messages and the card name a precision and mode."""
    return f"{precision} {mode}"


def _held(row: Row, old: Manifest, new: Manifest, dropped: Dropped) -> Row | None:
    name = name_of(row.precision, row.mode)
    own = _change(row.precision, row.mode, old, new)
    if row.answers_digest:
        if row.answers_digest == answers_digest(new, row.precision, row.mode):
            own = Change.NOTHING
        elif row.answers_digest != answers_digest(old, row.precision, row.mode):
            own = Change.ANSWERS  # it was stale before
    if own == Change.ANSWERS:
        dropped.rows.append(name)
        return None
    update: dict[str, Any] = {}
    if own == Change.CONFIDENCE:
        dropped.confidence.append(name)
        row = without_confidence(row)
        if row.answers_digest:
            update["answers_digest"] = answers_digest(new, row.precision, row.mode)
    for pair in PAIRS:
        compared = getattr(row, pair)
        reference = reference_of(row, pair)
        changed = max(own, _change(*reference, old, new))
        if compared is None or changed == Change.NOTHING:
            continue
        if changed == Change.ANSWERS:
            dropped.comparisons.append(f"{name} with {name_of(*reference)}")
        update[pair] = without_confidence(compared) if changed == Change.CONFIDENCE else None
    return row.model_copy(update=update) if update else row


def without_confidence(part: AnyPart) -> AnyPart:
    """A row or a comparison without the values that depend on temperatures and thresholds."""
    present = type(part).model_fields.keys()
    return part.model_copy(update={name: None for name in UNCERTAIN if name in present})


def _change(precision: Precision, mode: Mode, old: Manifest, new: Manifest) -> Change:
    if answers_digest(old, precision, mode) == answers_digest(new, precision, mode):
        return Change.NOTHING
    same_order = ranking_digest(old, precision, mode) == ranking_digest(new, precision, mode)
    return Change.CONFIDENCE if same_order else Change.ANSWERS
