"""A row of the result: one image, with its answer or its error."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from service.console.text import storable
from service.inference.options import OFF
from service.inference.predictor import TopClass
from service.package.manifest import Manifest
from service.scoring.item import Position
from service.scoring.options import ScoreOptions
from service.scoring.resume.trace import Trace
from service.scoring.task import SCORING_TASKS


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one image: either `error` is set, or the fields of the answer."""

    path: str
    position: Position
    error: str | None = None
    label: str | None = None
    """The id of the true class. If the model has no such class, the label as the source has it.
    None if no label is known. For a multi-label model: the ids separated by `;`, or "" if the image
    shows none of the classes."""
    sha256: str | None = None
    top: tuple[TopClass, ...] = ()
    probabilities: tuple[float, ...] | None = None
    prediction_set: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    """Multi-label models: the ids of the classes at or above their thresholds."""
    single: TopClass | None = None
    margin: float | None = None
    entropy: float | None = None
    """In nats. See `service.scoring.uncertainty`."""
    unknown_score: float | None = None
    is_unknown: bool | None = None
    """None of the classes fits the image, at the known rate of the run."""
    embedding: tuple[float, ...] | None = None
    passes: int | None = None
    cost: float | None = None
    decode_ms: float | None = None
    infer_ms: float | None = None
    trace: Trace | None = None
    """The origin of the row. It is only in the journal of an unfinished run, never in a result."""

    @property
    def ok(self) -> bool:
        return self.error is None


def schema(options: ScoreOptions, manifest: Manifest) -> pa.Schema:
    """The columns of a result. They are the same in every format, and flat except for lists."""
    text, number = pa.string(), pa.float32()
    fields: list[tuple[str, pa.DataType]] = [("path", text)]
    if options.sha256:
        fields.append(("sha256", text))
    fields += [("status", text), ("error", text), ("label", text)]
    fields += SCORING_TASKS[manifest.task].columns
    for rank in range(1, min(options.top_k, len(manifest.labels)) + 1):
        fields += [(f"top{rank}_id", text), (f"top{rank}_name", text)]
        fields.append((f"top{rank}_probability", number))
    if options.all_probabilities:
        fields.append(("probabilities", pa.list_(number)))
    if options.inference.coverage is not None:
        fields.append(("prediction_set", pa.list_(text)))
    if options.single:
        fields += [("single_id", text), ("single_name", text), ("single_probability", number)]
    if options.uncertainty:
        fields += [("margin", number), ("entropy", number)]
    if manifest.unknown is not None and options.inference.known_rate != OFF:
        fields += [("unknown_score", number), ("is_unknown", pa.bool_())]
    if options.embedding:
        fields.append(("embedding", pa.list_(number)))
    fields += [("passes", pa.int32()), ("cost", number)]
    if options.timing:
        fields += [("decode_ms", number), ("infer_ms", number)]
    return pa.schema(fields)


def record(row: Row) -> dict[str, Any]:
    """Every column for which `row` has a value. A schema uses the columns that it knows."""
    values: dict[str, Any] = {
        "path": storable(row.path),
        "sha256": row.sha256,
        "status": "ok" if row.ok else "error",
        "error": row.error if row.error is None else storable(row.error),
        "label": row.label if row.label is None else storable(row.label),
        "probabilities": row.probabilities,
        "prediction_set": row.prediction_set,
        "labels": row.labels,
        "margin": row.margin,
        "entropy": row.entropy,
        "unknown_score": row.unknown_score,
        "is_unknown": row.is_unknown,
        "embedding": row.embedding,
        "passes": row.passes,
        "cost": row.cost,
        "decode_ms": row.decode_ms,
        "infer_ms": row.infer_ms,
    }
    for rank, top in enumerate(row.top, 1):
        _put(values, f"top{rank}", top)
    if row.single is not None:
        _put(values, "single", row.single)
    return values


def _put(values: dict[str, Any], prefix: str, top: TopClass) -> None:
    values[f"{prefix}_id"] = top.id
    values[f"{prefix}_name"] = top.name
    values[f"{prefix}_probability"] = top.probability


def table(rows: list[Row], columns: pa.Schema) -> pa.Table:
    """Rows as an Arrow table."""
    return pa.Table.from_pylist([record(row) for row in rows], columns)
