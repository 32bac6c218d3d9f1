"""A row of the result: one image, answered or failed."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from service.console.text import storable
from service.inference.predictor import TopClass
from service.package.manifest import Manifest
from service.scoring.item import Position
from service.scoring.options import ScoreOptions
from service.scoring.resume.trace import Trace


@dataclass(frozen=True, slots=True)
class Row:
    """One image's outcome: either `error` is set, or the answer's fields are."""

    path: str
    position: Position
    error: str | None = None
    label: str | None = None
    """The id of the true class, or the label as the source has it where the model has no such
    class; None where no label is known. Of a multi-label model the ids with `;` between, "" where
    none of the classes is in the image."""
    sha256: str | None = None
    top: tuple[TopClass, ...] = ()
    probabilities: tuple[float, ...] | None = None
    prediction_set: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    """Multi-label models: the ids of the classes at or above their thresholds."""
    single: TopClass | None = None
    passes: int | None = None
    cost: float | None = None
    decode_ms: float | None = None
    infer_ms: float | None = None
    trace: Trace | None = None
    """What the row was made of; it is in no result, only in the journal of an unfinished run."""

    @property
    def ok(self) -> bool:
        return self.error is None


def schema(options: ScoreOptions, manifest: Manifest) -> pa.Schema:
    """The columns of a result: flat but for lists, the same in every format."""
    text, number = pa.string(), pa.float32()
    fields: list[tuple[str, pa.DataType]] = [("path", text)]
    if options.sha256:
        fields.append(("sha256", text))
    fields += [("status", text), ("error", text), ("label", text)]
    if manifest.task == "multi_label":
        fields.append(("labels", pa.list_(text)))
    for rank in range(1, min(options.top_k, len(manifest.labels)) + 1):
        fields += [(f"top{rank}_id", text), (f"top{rank}_name", text)]
        fields.append((f"top{rank}_probability", number))
    if options.all_probabilities:
        fields.append(("probabilities", pa.list_(number)))
    if options.inference.coverage is not None:
        fields.append(("prediction_set", pa.list_(text)))
    if options.single:
        fields += [("single_id", text), ("single_name", text), ("single_probability", number)]
    fields += [("passes", pa.int32()), ("cost", number)]
    if options.timing:
        fields += [("decode_ms", number), ("infer_ms", number)]
    return pa.schema(fields)


def record(row: Row) -> dict[str, Any]:
    """Every column that `row` has a value for; a schema takes those it knows."""
    values: dict[str, Any] = {
        "path": storable(row.path),
        "sha256": row.sha256,
        "status": "ok" if row.ok else "error",
        "error": row.error if row.error is None else storable(row.error),
        "label": row.label if row.label is None else storable(row.label),
        "probabilities": row.probabilities,
        "prediction_set": row.prediction_set,
        "labels": row.labels,
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
