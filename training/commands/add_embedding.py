"""`quincunx add-embedding`: embeddings for a package that was written without them."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import Package
from service.console.stdio import answer, log
from training.commands.options import Overwrite

app = typer.Typer()


@app.command()
def add_embedding(
    package: Package,
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The new version; by default it stays the same."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the new package to this folder, and leave PACKAGE as it is.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Give every graph of a package the output embedding, without training.

    The package is replaced, or written to another folder with --out. The weights and the answers
    stay the same, bit by bit. Afterwards `quincunx calibrate --only-unknown PACKAGE DATA` fits the
    unknown score.
    """
    from training.export.change import changeable
    from training.export.embedding import embed_package

    with changeable(package, out, overwrite=overwrite) as folder:
        manifest = embed_package(folder, version=version, log=log)
    answer(
        f"{out or package}: version {manifest.version}, embeddings of {manifest.graph.embedding}"
    )
