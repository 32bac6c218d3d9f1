"""Options that several commands take, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import complete_package
from training.data.cache import CacheMode

RECIPES = Path(__file__).parents[1] / "recipes"

TrainingData = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A folder of train/<class>/* and val/<class>/* (or valid/); a folder of <class>/*, "
        "which gets a split; a table (.csv, .tsv, .parquet) of path,label; or a name: imagenette, "
        "imagewoof.",
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


def recipe_choices(incomplete: str) -> list[str]:
    """The same, with `auto`."""
    return [*(["auto"] if "auto".startswith(incomplete) else []), *recipe_names(incomplete)]


RecipeName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="See `quincunx recipes`. auto: with few images start from the shipped package; with "
        "many a recipe for this device.",
        autocompletion=recipe_choices,
    ),
]
Backbone = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Fine-tune this pretrained network: timm:NAME or torchvision:NAME. The recipe is "
        "fine-tune, if --recipe names no other.",
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="--backbone: its weights as safetensors or .pth; by default they are downloaded. "
        "none: random weights.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="As in --set stage.1.epochs=8."),
]
Init = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Start from the weights of this package (a folder, or a name in models/) or run.",
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
Cache = Annotated[
    CacheMode,
    typer.Option(
        help="Decode every file once, and keep the images. device: in GPU memory. memory: in a "
        "memory-mapped file. off: decode the files in every epoch. auto: on a GPU device if "
        "they fit, else memory; without a GPU memory for images of 1 MP or more, else off."
    ),
]
CacheLimit = Annotated[
    float,
    typer.Option(
        min=0, metavar="GIB", help="What the folder may hold; the oldest entries make room."
    ),
]
CachePx = Annotated[
    int,
    typer.Option(
        min=0, metavar="PX", help="Shorter side of kept images; 0: as the recipe's crops need."
    ),
]
CacheFolder = Annotated[
    Path,
    typer.Option("--cache-folder", metavar="FOLDER", help="The folder of decoded images."),
]
Precisions = Annotated[
    str, typer.Option(help="Precisions, comma separated; by default all in the package.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
