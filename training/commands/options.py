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
        help="A recipe, see `quincunx recipes`. auto: the number of images and the device decide; "
        "with few images the training starts from the shipped package.",
        autocompletion=recipe_choices,
    ),
]
Backbone = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Fine-tune this pretrained network: timm:NAME or torchvision:NAME. The default recipe "
        "is then fine-tune.",
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="With --backbone: a file with its weights, safetensors or .pth; by default they are "
        "downloaded. none: random weights.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the recipe, as in --set stage.1.epochs=8. Repeat it for more.",
    ),
]
Init = Annotated[
    Path | None,
    typer.Option(
        metavar="PACKAGE|RUN",
        help="Start from the weights of a package (a folder, or a name in models/) or of a run "
        "(a folder in runs/).",
        parser=package_or_run,
        autocompletion=complete_package,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the model package at --out and everything in it."),
]
Workers = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Processes that load images; 0: load in this process."),
]
Cache = Annotated[
    CacheMode,
    typer.Option(
        help="Decode every file once, and keep the images. device: in GPU memory. memory: in a "
        "memory-mapped file. off: decode the files in every epoch. auto: with a GPU, device if the "
        "images fit into its memory, otherwise memory; without a GPU, memory if the files have "
        "1 MP or more on average, otherwise off."
    ),
]
CacheLimit = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="GIB",
        help="Largest size of the folder. The oldest entries are removed to make room.",
    ),
]
CachePx = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="PX",
        help="Shorter side of the kept images; 0: what the recipe's crops need.",
    ),
]
CacheFolder = Annotated[
    Path,
    typer.Option("--cache-folder", metavar="FOLDER", help="The folder of decoded images."),
]
Precisions = Annotated[
    str,
    typer.Option(
        metavar="P,P,…",
        help="Precisions, separated by commas: fp32, fp16, int8; by default all in the package.",
    ),
]
MeasuredBox = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="L,T,R,B[,flip]",
        help="With custom among the modes: the left, top, right and bottom edge of a crop, as "
        "fractions of the image; flip: mirrored. Repeat it for more crops.",
    ),
]
