"""An answer that was given: the facts that feedback about it needs. Nothing of the image."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from service.inference.tta.task import SEPARATOR


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One answer. A fact that is not known is None."""

    model: str
    """`NAME@VERSION`."""
    label: str
    """The id of the likeliest class. Of a multi-label model: the ids of the present classes,
    separated by `;`, possibly none."""
    probability: float | None = None
    """Of the likeliest class."""
    precision: str | None = None
    tta: str | None = None
    """The mode that ran."""
    unknown_score: float | None = None
    is_unknown: bool | None = None
    known_rate: float | None = None
    answered_s: float | None = None
    """When it was answered, in seconds since 1970."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any], answered_s: float) -> "GivenAnswer":
        """The facts in the JSON of an answer of `/classify`."""
        labels = content.get("labels")
        unknown: Mapping[str, Any] = content.get("unknown") or {}
        return cls(
            model=content["model"],
            label=content["label"] if labels is None else joined(one["label"] for one in labels),
            probability=content["probability"],
            precision=content["precision"],
            tta=content["tta_applied"],
            unknown_score=unknown.get("score"),
            is_unknown=unknown.get("is_unknown"),
            known_rate=unknown.get("known_rate"),
            answered_s=answered_s,
        )

    def packed(self) -> bytes:
        """The facts as bytes, for `unpacked`."""
        # `dataclasses.astuple` takes four times as long, on the event loop.
        values = [getattr(self, name) for name in _FIELDS]
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> "GivenAnswer":
        """Undo `packed`."""
        return cls(*json.loads(data))


_FIELDS = tuple(field.name for field in fields(GivenAnswer))


def joined(labels: Iterable[str]) -> str:
    """The ids of several classes as one text, in alphabetical order."""
    return SEPARATOR.join(sorted(labels))
