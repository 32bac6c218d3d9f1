"""`quincunx models`: list, show and verify model packages."""

import json
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands.options import AsJson, Package, complete_package

app = typer.Typer(help="List, show and verify model packages.", no_args_is_help=True)

Root = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="The folder that holds the packages; by default models/ in the current folder and "
        "beside the code.",
    ),
]


@app.command("list")
def list_packages(root: Root = None, as_json: AsJson = False) -> None:
    """List the packages directly under a folder.

    A package with incomplete or altered files is listed with its error. Then the exit code is 1.
    """
    from service.commands import package_tables
    from service.console.stdio import log, print_json
    from service.console.terminal import console
    from service.errors import DataError, ModelPackageError
    from service.package.package import ModelPackage, find, without_manifest
    from service.package.shipped import model_folders

    roots = model_folders() if root is None else [root]
    if not roots or not roots[0].is_dir():
        raise DataError(f"no folder {root or 'models'}")
    for folder in chain.from_iterable(map(without_manifest, roots)):
        log(f"quincunx: skipped {folder}: it has a graph, but no manifest.json")
    rows: list[dict[str, Any]] = []
    for folder in chain.from_iterable(map(find, roots)):
        try:
            rows.append(package_tables.facts(folder, ModelPackage.load(folder).manifest))
        except ModelPackageError as error:
            rows.append({"path": str(folder), "error": str(error)})
    if as_json:
        print_json(rows)
    else:
        console().print(package_tables.packages(rows))
    if any("error" in row for row in rows):
        raise typer.Exit(1)


@app.command()
def show(folder: Package, as_json: AsJson = False) -> None:
    """Show the facts of a package and its measurements."""
    from service.commands import package_tables
    from service.console.stdio import print_json
    from service.console.terminal import console
    from service.package.package import ModelPackage

    manifest = ModelPackage.load(folder).manifest
    if as_json:
        print_json(json.loads(manifest.model_dump_json()))
    else:
        for table in package_tables.one_package(folder, manifest):
            console().print(table)


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
    as_json: AsJson = False,
) -> None:
    """Check the manifest of each package, and that each of its graphs can be served.

    Every file must have its sha256, and every graph must fit the manifest: its classes, its sizes,
    the default mode. The model card and the recorded metrics must not contradict the manifest. Each
    graph is then opened and run in every mode on this machine's CPU.
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


@app.command()
def card(folder: Package) -> None:
    """Write the model card of a package again, from its manifest.

    Commands that change a package do this themselves. A card with other text is kept as
    MODEL_CARD.old.md.
    """
    from service.console.stdio import answer, log
    from service.package.card.document import keep_edited, write_model_card
    from service.package.package import ModelPackage

    keep_edited(ModelPackage.load(folder), log)
    answer(str(write_model_card(folder)))
