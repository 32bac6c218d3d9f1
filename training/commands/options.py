"""Options that several commands take, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import complete_package

RECIPES = Path(__file__).parents[1] / "recipes"

TrainingData = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A folder of train/<class>/* and val/<class>/* (or valid/); a table (.csv, .tsv, "
        ".parquet) of path,label; or a name: imagenette, imagewoof.",
    ),
]


def package_or_run(named: str) -> Path:
    """Parse an option that names a run's folder or a package."""
    from service.package import shipped

    return shipped.package_or_run(Path(named))


def recipe_names(incomplete: str) -> list[str]:
    """The recipes whose names begin so, for the completion of a shell."""
    names = (path.stem.replace("_", "-") for path in RECIPES.glob("[!_]*.py"))
    return sorted(name for name in names if name.startswith(incomplete))


RecipeName = Annotated[
    str,
    typer.Option(metavar="NAME", help="See `quincunx recipes`.", autocompletion=recipe_names),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="As in --set stage.1.epochs=8."),
]
Init = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Start from the weights of this package or run.",
        parser=package_or_run,
        autocompletion=complete_package,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the model package at --out and everything in it."),
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that load images; 0: load in this process.")
]
CacheFolder = Annotated[
    Path,
    typer.Option("--cache-folder", metavar="FOLDER", help="The folder of decoded images."),
]
Precisions = Annotated[
    str, typer.Option(help="Precisions, comma separated; by default all in the package.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
