"""Put the graph of one more precision into a package, or replace one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from service.package.manifest import Precision
from service.package.package import ModelPackage
from training.export.change import write_change
from training.export.writer import FILES, describe


def put_graph(
    read: ModelPackage,
    precision: Precision,
    graph: Path,
    facts: Mapping[str, Any],
    log: Callable[[str], None],
    *,
    entry: Mapping[str, Any] | None = None,
) -> Path:
    """Move the file `graph` into the package; `facts` become `provenance[precision]`.

    `entry` are further fields of the file's entry in the manifest.

    A graph of this precision that is there already leaves the package first, with its calibration
    and metrics. So a process that is killed here leaves a package without this precision.
    """
    path = read.folder / FILES[precision]
    if precision in read.precisions and read.read(precision) != graph.read_bytes():
        read = _without(read, precision, log)
    graph.replace(path)
    described = describe(read.folder, precision).model_copy(update=dict(entry or {}))
    manifest = read.manifest
    files = (*(file for file in manifest.files if file.precision != precision), described)
    provenance = {**manifest.provenance, precision: dict(facts)}
    changed = {"files": files, "provenance": provenance}
    write_change(read, manifest.model_copy(update=changed), log)
    return path


def _without(read: ModelPackage, precision: Precision, log: Callable[[str], None]) -> ModelPackage:
    manifest = read.manifest
    kept = {
        name: tuple(one for one in getattr(manifest, name) if one.precision != precision)
        for name in ("files", "calibration")
    }
    if len(kept["calibration"]) < len(manifest.calibration):
        log(f"the calibration of {precision} is dropped: it belongs to the graph before")
    write_change(read, manifest.model_copy(update=kept), log)
    return ModelPackage.load(read.folder)
