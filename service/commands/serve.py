"""`quincunx serve`: the service on a port of this machine."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.commands.options import complete_package, number_or_auto, package_folder
from service.errors import UsageError
from service.inference.runtime.providers import Provider

app = typer.Typer()


@app.command()
def serve(
    packages: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PACKAGE",
            help="Model packages: folders, or names in models/; by default all in models/.",
            parser=package_folder,
            autocompletion=complete_package,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    workers: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            help="How many processes answer requests. auto: one on a CPU; on a GPU as many as keep "
            "it busy and fit into its memory (`quincunx doctor` shows the number).",
        ),
    ] = "auto",
    provider: Annotated[
        Provider | None,
        typer.Option(
            help="Where inference runs; auto: on the GPU if it can be used.", show_default="auto"
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "int8"] | None,
        typer.Option(
            help="The precision of the graph that runs; auto: the fastest on this machine.",
            show_default="auto",
        ),
    ] = None,
) -> None:
    """Serve model packages over HTTP.

    All other settings are environment variables QUINCUNX_*, listed in docs/operating.md. An
    invalid one is reported before the server starts.
    """
    if sys.platform == "win32":
        raise UsageError("quincunx serve needs Linux or macOS; on Windows run it in WSL")

    from service.api.server.launch import launch
    from service.setting_values.path_list import join_paths

    overrides = {
        # Links stay links: a reload follows them again.
        "packages": join_paths(folder.absolute() for folder in packages) if packages else "",
        "provider": provider or "",
        "precision": precision or "",
    }
    number = number_or_auto("--workers", workers, 1)
    launch({k: v for k, v in overrides.items() if v}, host=host, port=port, workers=number)
