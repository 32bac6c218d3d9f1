"""`quincunx add-embedding`: embeddings for a package that was written without them."""

from typing import Annotated

import typer

from service.commands.options import Package
from service.console.stdio import answer, log

app = typer.Typer()


@app.command()
def add_embedding(
    package: Package,
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The new version; by default it stays the same."),
    ] = None,
) -> None:
    """Give every graph of a package the output embedding, without training.

    The package is replaced. The weights and the answers stay the same, bit by bit. Afterwards
    `quincunx calibrate --only-unknown PACKAGE DATA` fits the unknown score.
    """
    from training.export.embedding import embed_package

    manifest = embed_package(package, version=version, log=log)
    answer(f"{package}: version {manifest.version}, embeddings of {manifest.graph.embedding}")
