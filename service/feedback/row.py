"""One row of the feedback log, and the columns of its Parquet files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import pyarrow as pa

from service.feedback.given import GivenAnswer

Source = Literal["server", "client"]
"""Who knew the answer: the server remembered it, or the client sent it with the feedback."""
Outcome = Literal["right", "wrong", "unknown"]

_TIME = pa.timestamp("us", tz="UTC")
COLUMNS = pa.schema(
    [
        ("time", _TIME),
        ("request_id", pa.string()),
        ("image", pa.int32()),
        ("label", pa.string()),
        ("foreign", pa.bool_()),
        ("note", pa.string()),
        ("source", pa.string()),
        ("model", pa.string()),
        ("predicted", pa.string()),
        ("probability", pa.float64()),
        ("precision", pa.string()),
        ("tta", pa.string()),
        ("unknown_score", pa.float64()),
        ("is_unknown", pa.bool_()),
        ("known_rate", pa.float64()),
        ("answered", _TIME),
    ]
)
OWN = ("time", "request_id", "image", "label", "foreign", "note", "source")
OF_ANSWER = (
    *("model", "probability", "precision", "tta", "unknown_score", "is_unknown", "known_rate"),
)
"""Columns that hold the fields of the same names, of the row and of its answer."""


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What a user said about one answer."""

    time: datetime
    request_id: str
    image: int
    """The position of the image in its request."""
    label: str | None
    """The id of the right class; None: it is not known. Of a multi-label model: ids, with `;`."""
    foreign: bool
    """None of the classes is right."""
    note: str | None
    source: Source | None
    answer: GivenAnswer | None
    """None: the answer is not known, as it is too old and the client did not send it."""

    @property
    def outcome(self) -> Outcome:
        """Whether the answer was right; `unknown` if the answer is not known.

        For a foreign image an answer is right if it said that the image is unknown, or if it has no
        labels (multi-label models).
        """
        answer = self.answer
        if answer is None:
            return "unknown"
        if self.foreign:
            right = answer.is_unknown or answer.label == ""
        else:
            right = self.label == answer.label
        return "right" if right else "wrong"

    def values(self) -> dict[str, Any]:
        """The row by columns."""
        answer = self.answer
        answered_s = answer and answer.answered_s
        return {
            **{name: getattr(self, name) for name in OWN},
            **{name: answer and getattr(answer, name) for name in OF_ANSWER},
            "predicted": answer and answer.label,
            "answered": None if answered_s is None else datetime.fromtimestamp(answered_s, UTC),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FeedbackRow":
        """Undo `values`."""
        answered = cast(datetime | None, values["answered"])
        answer = None
        if values["model"] is not None:
            answer = GivenAnswer(
                label=values["predicted"],
                answered_s=answered.timestamp() if answered else None,
                **{name: values[name] for name in OF_ANSWER},
            )
        return cls(answer=answer, **{name: values[name] for name in OWN})


def table_of(rows: Sequence[FeedbackRow]) -> pa.Table:
    """The rows as a table with `COLUMNS`."""
    return pa.Table.from_pylist([row.values() for row in rows], COLUMNS)
