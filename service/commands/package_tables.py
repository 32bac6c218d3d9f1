"""The facts of model packages, as JSON and as tables for the terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from service.console.text import shown
from service.package.labels import distinct_names
from service.package.manifest import InputSize, Manifest
from service.package.modes import modes


def facts(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """What `quincunx models list --json` says of a package."""
    return {
        "path": str(folder),
        "name": manifest.name,
        "version": manifest.version,
        "architecture": str(manifest.architecture.get("name", "")),
        "task": manifest.task,
        "classes": len(manifest.labels),
        "crop_px": manifest.input.crop_px,
        "resize_px": manifest.input.resize_px,
        "fit": manifest.input.fit,
        "graph": manifest.graph.kind,
        "sizes": _sizes(manifest),
        "modes": list(modes(manifest)),
        "default_mode": manifest.default_mode,
        "calibrated": bool(manifest.calibration),
        "precisions": [file.precision for file in manifest.files],
        "embedding": manifest.graph.embedding,
        "known_rate": None if manifest.unknown is None else manifest.unknown.known_rate,
        "size_bytes": sum(file.size_bytes for file in manifest.files)
        + (manifest.unknown.size_bytes if manifest.unknown else 0),
    }


def packages(rows: list[dict[str, Any]]) -> Table:
    """One row for each package: its `facts`, or its path and an error."""
    table = Table(
        "path", "version", "architecture", "classes", "crop", "modes", "precisions", "MiB"
    )
    for row in rows:
        if "error" in row:
            table.add_row(row["path"], Text(shown(row["error"]), style="red"))
            continue
        table.add_row(
            row["path"],
            row["version"],
            str(row["architecture"] or ""),
            str(row["classes"]),
            f"{row['crop_px']} of {row['resize_px']} px",
            ", ".join(row["modes"]),
            ", ".join(row["precisions"]),
            _mib(row["size_bytes"]),
        )
    return table


def one_package(folder: Path, manifest: Manifest) -> Iterator[Table]:
    """The tables of one package: its description, its files and its measurements."""
    yield _description(folder, manifest)
    yield _files(manifest)
    if manifest.metrics:
        yield _metrics(manifest)
    if manifest.multi_label_metrics:
        yield _multi_label_metrics(manifest)


def _description(folder: Path, manifest: Manifest) -> Table:
    size = manifest.input
    table = Table(show_header=False, box=None)
    table.add_row("package", f"{manifest.name} {manifest.version} ({folder})")
    table.add_row("architecture", ", ".join(f"{k}={v}" for k, v in manifest.architecture.items()))
    table.add_row(
        "input",
        f"crops of {size.crop_px} px, {_resized(size)}, {size.interpolation}",
    )
    table.add_row("graph", f"kind {manifest.graph.kind}, {_sizes(manifest)}")
    table.add_row("modes", ", ".join(modes(manifest)))
    if not manifest.calibration:
        table.add_row("confidence", "not calibrated (quincunx calibrate)")
    if manifest.graph.embedding is not None:
        table.add_row("embedding", f"{manifest.graph.embedding} numbers")
    if manifest.unknown is not None:
        table.add_row("unknown score", f"known_rate {manifest.unknown.known_rate:g} by default")
    table.add_row("normalization", manifest.normalization.source)
    table.add_row("task", manifest.task.replace("_", "-"))
    table.add_row("classes", ", ".join(distinct_names(manifest.labels)))
    table.add_row("default TTA", manifest.default_mode)
    return table


def _files(manifest: Manifest) -> Table:
    table = Table("file", "precision", "MiB", "sha256")
    for file in manifest.files:
        table.add_row(file.file, file.precision, _mib(file.size_bytes), f"{file.sha256[:16]}…")
    if (unknown := manifest.unknown) is not None:
        size = _mib(unknown.size_bytes)
        table.add_row(unknown.file, "unknown score", size, f"{unknown.sha256[:16]}…")
    return table


def _metrics(manifest: Manifest) -> Table:
    table = Table("precision", "TTA", "images", "top-1", "95% interval", "NLL", "ECE")
    for row in manifest.metrics:
        low, high = row.top1_interval
        table.add_row(
            row.precision,
            row.mode,
            str(row.images),
            f"{row.top1:.2%}",
            f"{low:.2%} to {high:.2%}",
            "" if row.nll is None else f"{row.nll:.3f}",
            _percent(row.ece),
        )
    return table


def _multi_label_metrics(manifest: Manifest) -> Table:
    table = Table("precision", "TTA", "images", "mAP", "95% interval", "micro F1", "macro F1")
    for row in manifest.multi_label_metrics:
        low, high = row.map_interval
        table.add_row(
            row.precision,
            row.mode,
            str(row.images),
            f"{row.map:.2%}",
            f"{low:.2%} to {high:.2%}",
            _percent(row.micro_f1),
            _percent(row.macro_f1),
        )
    return table


def _sizes(manifest: Manifest) -> str:
    """The sizes of images that the graph takes, in words."""
    graph = manifest.graph
    if graph.sizes != "dynamic":
        return ", ".join(f"{width}×{height} px" for height, width in graph.sizes)
    stride = "" if graph.kind == "crops" else f", stride {graph.stride_px} px"
    return f"any size from {graph.smallest_px} px{stride}"


def _resized(size: InputSize) -> str:
    if size.fit == "squash":
        return f"photos squashed to {size.resize_px}×{size.resize_px} px"
    return f"shorter side {size.resize_px} px"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f}"


def _percent(share: float | None) -> str:
    """Empty where a later calibration made the value stale."""
    return "" if share is None else f"{share:.2%}"
