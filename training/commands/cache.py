"""`quincunx cache`: the decoded images that training keeps."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson
from service.console.stdio import answer, log, print_json
from training.commands.options import CacheFolder

app = typer.Typer(help="List and remove the decoded images that training keeps.")


@app.command("list")
def list_entries(folder: CacheFolder = Path("cache"), as_json: AsJson = False) -> None:
    """List the entries of a cache folder, the most recently used first."""
    from training.data.cache.cache_folder import listed

    entries = listed(folder)
    if as_json:
        print_json([entry.facts() for entry in entries])
        return
    for entry in entries:
        answer(entry)
    if not entries:
        log(f"no decoded images in {folder}")


@app.command()
def clean(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", help="Keys of entries; by default all entries."),
    ] = None,
    folder: CacheFolder = Path("cache"),
) -> None:
    """Remove entries. A run that needs one later decodes its files again."""
    from training.data.cache.cache_folder import clean, listed, size_text

    removed = clean(folder, keys or [])
    for entry in removed:
        answer(entry.folder)
    log(f"freed {size_text(sum(entry.nbytes for entry in removed))}")
    for entry in listed(folder):
        if entry.writing:
            log(f"{entry.folder} stays: a process is writing it")
