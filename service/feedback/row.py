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
            "time": self.time,
            "request_id": self.request_id,
            "image": self.image,
            "label": self.label,
            "foreign": self.foreign,
            "note": self.note,
            "source": self.source,
            "model": answer and answer.model,
            "predicted": answer and answer.label,
            "probability": answer and answer.probability,
            "precision": answer and answer.precision,
            "tta": answer and answer.tta,
            "unknown_score": answer and answer.unknown_score,
            "is_unknown": answer and answer.is_unknown,
            "known_rate": answer and answer.known_rate,
            "answered": None if answered_s is None else datetime.fromtimestamp(answered_s, UTC),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FeedbackRow":
        """Undo `values`."""
        answered = cast(datetime | None, values["answered"])
        answer = None
        if values["model"] is not None:
            answer = GivenAnswer(
                model=values["model"],
                label=values["predicted"],
                probability=values["probability"],
                precision=values["precision"],
                tta=values["tta"],
                unknown_score=values["unknown_score"],
                is_unknown=values["is_unknown"],
                known_rate=values["known_rate"],
                answered_s=answered.timestamp() if answered else None,
            )
        own = {name: values[name] for name in ("time", "request_id", "image", "label")}
        more = {name: values[name] for name in ("foreign", "note", "source")}
        return cls(**own, **more, answer=answer)


def table_of(rows: Sequence[FeedbackRow]) -> pa.Table:
    """The rows as a table with `COLUMNS`."""
    return pa.Table.from_pylist([row.values() for row in rows], COLUMNS)
