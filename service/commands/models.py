"""`quincunx models`: list, show and verify model packages."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.options import Package, complete_package

if TYPE_CHECKING:
    from service.package.manifest import Manifest

app = typer.Typer(help="List, show and verify model packages.", no_args_is_help=True)

Root = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that holds the packages.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_packages(root: Root = Path("models"), as_json: Json = False) -> None:
    """List the packages directly under a folder.

    A package with incomplete or altered files is listed with its error. Then the exit code is 1.
    """
    from service.console.stdio import log, print_json
    from service.errors import DataError, ModelPackageError
    from service.package.package import ModelPackage, find, without_manifest

    if not root.is_dir():
        raise DataError(f"no folder {root}")
    for folder in without_manifest(root):
        log(f"quincunx: skipped {folder}: it has a graph, but no manifest.json")
    rows: list[dict[str, Any]] = []
    for folder in find(root):
        try:
            rows.append(_row(folder, ModelPackage.load(folder).manifest))
        except ModelPackageError as error:
            rows.append({"path": str(folder), "error": str(error)})
    if as_json:
        print_json(rows)
    else:
        _print_table(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


@app.command()
def show(folder: Package, as_json: Json = False) -> None:
    """Show the facts of a package and its measurements."""
    from service.console.stdio import print_json
    from service.package.package import ModelPackage

    manifest = ModelPackage.load(folder).manifest
    if as_json:
        print_json(json.loads(manifest.model_dump_json()))
    else:
        _print_package(folder, manifest)


@app.command()
def verify(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="PACKAGE",
            help="Package folders, or names in models/.",
            autocompletion=complete_package,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Check the manifest of each package, and that each of its graphs can be served.

    Every file must have its sha256, and every graph must fit the manifest: its classes, its sizes,
    the default mode. Each graph is then opened and run in every mode on this machine's CPU.
    """
    from service.console.stdio import answer, print_json
    from service.errors import ModelPackageError
    from service.package.shipped import package_folder
    from service.package.verify import verify as verified

    results: list[dict[str, Any]] = []
    for named in folders:
        folder = named
        try:
            folder = package_folder(named)
            manifest = verified(folder).manifest
            files = [file.file for file in manifest.files]
            files += [manifest.unknown.file] if manifest.unknown else []
            results.append({"path": str(folder), "ok": True, "files": files})
        except ModelPackageError as error:
            results.append({"path": str(folder), "ok": False, "error": str(error)})
    if as_json:
        print_json(results)
    else:
        for result in results:
            state = f"ok ({', '.join(result['files'])})" if result["ok"] else result["error"]
            answer(f"{result['path']}: {state}")
    if not all(result["ok"] for result in results):
        raise typer.Exit(1)


def _row(folder: Path, manifest: "Manifest") -> dict[str, Any]:
    from service.package.modes import modes

    return {
        "path": str(folder),
        "name": manifest.name,
        "version": manifest.version,
        "architecture": str(manifest.architecture.get("name", "")),
        "task": manifest.task,
        "classes": len(manifest.labels),
        "crop_px": manifest.input.crop_px,
        "resize_px": manifest.input.resize_px,
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


def _sizes(manifest: "Manifest") -> str:
    """The sizes of images that the graph takes, in words."""
    graph = manifest.graph
    if graph.sizes != "dynamic":
        return ", ".join(f"{width}×{height} px" for height, width in graph.sizes)
    stride = "" if graph.kind == "crops" else f", stride {graph.stride_px} px"
    return f"any size from {graph.smallest_px} px{stride}"


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from service.console.terminal import console
    from service.console.text import shown

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
            f"{row['size_bytes'] / 2**20:.1f}",
        )
    console().print(table)


def _print_package(folder: Path, manifest: "Manifest") -> None:
    from rich.table import Table

    from service.console.terminal import console
    from service.package.labels import distinct_names
    from service.package.modes import modes

    size = manifest.input
    facts = Table(show_header=False, box=None)
    facts.add_row("package", f"{manifest.name} {manifest.version} ({folder})")
    facts.add_row("architecture", ", ".join(f"{k}={v}" for k, v in manifest.architecture.items()))
    facts.add_row(
        "input",
        f"crops of {size.crop_px} px, shorter side {size.resize_px} px, {size.interpolation}",
    )
    facts.add_row("graph", f"kind {manifest.graph.kind}, {_sizes(manifest)}")
    facts.add_row("modes", ", ".join(modes(manifest)))
    if not manifest.calibration:
        facts.add_row("confidence", "not calibrated (quincunx calibrate)")
    if manifest.graph.embedding is not None:
        facts.add_row("embedding", f"{manifest.graph.embedding} numbers")
    if manifest.unknown is not None:
        facts.add_row("unknown score", f"known_rate {manifest.unknown.known_rate:g} by default")
    facts.add_row("normalization", manifest.normalization.source)
    facts.add_row("task", manifest.task.replace("_", "-"))
    facts.add_row("classes", ", ".join(distinct_names(manifest.labels)))
    facts.add_row("default TTA", manifest.default_mode)
    console().print(facts)
    files = Table("file", "precision", "MiB", "sha256")
    for file in manifest.files:
        mib = f"{file.size_bytes / 2**20:.1f}"
        files.add_row(file.file, file.precision, mib, f"{file.sha256[:16]}…")
    if (unknown := manifest.unknown) is not None:
        mib = f"{unknown.size_bytes / 2**20:.1f}"
        files.add_row(unknown.file, "unknown score", mib, f"{unknown.sha256[:16]}…")
    console().print(files)
    if manifest.metrics:
        metrics = Table("precision", "TTA", "images", "top-1", "95% interval", "NLL", "ECE")
        for row in manifest.metrics:
            low, high = row.top1_interval
            metrics.add_row(
                row.precision,
                row.mode,
                str(row.images),
                f"{row.top1:.2%}",
                f"{low:.2%} to {high:.2%}",
                f"{row.nll:.3f}",
                f"{row.ece:.2%}",
            )
        console().print(metrics)
    if manifest.multi_label_metrics:
        metrics = Table("precision", "TTA", "images", "mAP", "95% interval", "micro F1", "macro F1")
        for row in manifest.multi_label_metrics:
            low, high = row.map_interval
            metrics.add_row(
                row.precision,
                row.mode,
                str(row.images),
                f"{row.map:.2%}",
                f"{low:.2%} to {high:.2%}",
                f"{row.micro_f1:.2%}",
                f"{row.macro_f1:.2%}",
            )
        console().print(metrics)
