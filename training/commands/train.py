"""`quincunx train`: a recipe, a folder of images, a run, a model package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.options import complete_package
from service.console.stdio import answer, saying_once
from training.commands.options import (
    CacheFolder,
    Init,
    Overrides,
    Overwrite,
    RecipeName,
    TrainingData,
    Workers,
    package_or_run,
)
from training.data.cache import CacheMode

if TYPE_CHECKING:
    from training.network.pretrained import Backbone

app = typer.Typer()


@app.command()
def train(
    data: TrainingData,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the model package goes: models/NAME.")
    ],
    recipe: RecipeName = "",
    backbone: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Fine-tune this pretrained network: timm:NAME or torchvision:NAME. The recipe is "
            "fine-tune, if --recipe names no other.",
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="--backbone: its weights as safetensors or .pth; by default they are downloaded. "
            "none: random weights.",
        ),
    ] = "",
    run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Checkpoints and history; by default runs/NAME."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    overwrite: Overwrite = False,
    overrides: Overrides = None,
    init: Init = None,
    workers: Workers = 0,
    threads: Annotated[int, typer.Option(min=0, help="Compute threads; 0: one for each core.")] = 0,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Log curves for TensorBoard into this folder."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            help="Train for so long: the number of epochs follows from the measured speed, and the "
            "schedule ends with the time. Reading the data counts, exporting does not.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Learn from this package or run too: its answers for the same crops are added to "
            "the loss (recipe fields distillation.weight and distillation.temperature).",
            parser=package_or_run,
            autocompletion=complete_package,
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Run training steps through torch.compile; it needs a C++ compiler."
        ),
    ] = False,
    cache: Annotated[
        CacheMode,
        typer.Option(
            help="Decode every file once, and keep the images. device: in GPU memory. memory: in a "
            "memory-mapped file. off: decode the files in every epoch. auto: on a GPU device if "
            "they fit, else memory; without a GPU memory for images of 1 MP or more, else off."
        ),
    ] = "auto",
    cache_folder: CacheFolder = Path("cache"),
    cache_limit: Annotated[
        float,
        typer.Option(
            min=0, metavar="GIB", help="What the folder may hold; the oldest entries make room."
        ),
    ] = 64,
    cache_px: Annotated[
        int,
        typer.Option(
            min=0, metavar="PX", help="Shorter side of kept images; 0: as the recipe's crops need."
        ),
    ] = 0,
) -> None:
    """Train a recipe, export the network as a model package, and calibrate the package.

    At the end the package is measured on the validation images.

    Every epoch ends with a checkpoint. --resume continues from it with the same schedule, and ends
    with the same weights as an uninterrupted run. If it is started by `accelerate launch` or
    `torchrun`, several processes train together.
    """
    import torch

    from service.errors import DataError
    from service.package.package import ModelPackage
    from training import recipe as recipes
    from training.calibration.calibrate import calibrate
    from training.calibration.images import held_out, training_images
    from training.data.named_data import located
    from training.evaluation.after_training import next_commands, report_accuracy
    from training.export.export import export_package
    from training.export.writer import check_replaceable
    from training.fit import distributed
    from training.fit.cached.keeping import CacheOptions
    from training.fit.train import train as run_recipe
    from training.network import pretrained as backbones
    from training.network.initial_weights import read_initial_weights
    from training.run import checkpoint
    from training.run.tensorboard import TensorBoardLogger

    log = saying_once()
    if threads:
        torch.set_num_threads(threads)
    data = located(data)
    begins = named_backbone(backbone, weights, recipe, init)
    if begins:
        recipe = recipe or backbones.RECIPE
        overrides = [*begins.overrides(recipe), *(overrides or [])]
    chosen = recipes.load(recipe, overrides)
    if begins:
        begins.check_sizes(chosen)
    folder = run or Path("runs") / out.name
    if not (resume and _exported_before_it_was_stopped(out, folder)):
        check_replaceable(out, overwrite=overwrite)  # check before hours of training
    initial = read_initial_weights(init) if init else None
    if begins:
        begun = resume and (folder / checkpoint.STATE).exists()  # it has the weights
        initial = begins.initial_weights(backbones.NO_WEIGHTS if begun else weights)
        if weights == backbones.NO_WEIGHTS:
            log(f"{backbone} starts from random weights, as --weights none says")
    board = TensorBoardLogger(tensorboard) if tensorboard and distributed.is_main() else None
    try:
        run_recipe(
            data,
            chosen,
            folder,
            resume=resume,
            initial=initial,
            workers=workers,
            board=board,
            cache=CacheOptions(cache, cache_folder, cache_limit, cache_px),
            minutes=minutes,
            teacher=teacher,
            compiled=compiled,
            log=log,
        )
    except KeyboardInterrupt:
        if not (folder / checkpoint.STATE).exists():
            log("stopped before the first checkpoint: there is nothing to continue")
        elif distributed.is_main():
            log(
                "stopped. The same command with --resume continues after the last checkpoint in "
                f"{folder}"
            )
        raise
    if not distributed.is_main():
        return
    package = export_package(folder, out, data, overwrite=True, log=log)
    try:
        items = held_out(ModelPackage.load(package), data, log)
    except DataError as error:
        log(f"not calibrated: {error}")
    else:
        training = training_images(ModelPackage.load(package), data)
        calibrate(package, items, training=training, log=log)
    report_accuracy(package, data, log)
    answer(package)
    for line in next_commands(package, data):
        log(line)


def named_backbone(source: str, weights: str, recipe: str, init: Path | None) -> "Backbone | None":
    """The backbone that the options name.

    Raises:
        UsageError: no such backbone, or options that do not go together.
    """
    from service.errors import UsageError
    from training.network.pretrained import Backbone

    if not source:
        if weights:
            raise UsageError("--weights goes with --backbone; for a package or a run use --init")
        if not recipe:
            raise UsageError("name --recipe (see quincunx recipes), or --backbone")
        return None
    if init:
        raise UsageError("--backbone and --init are two ways to begin: name one of them")
    return Backbone.named(source)


def _exported_before_it_was_stopped(out: Path, run: Path) -> bool:
    """Whether the run that is resumed had already exported its package when it was stopped."""
    from training.export.writer import is_unfinished_export
    from training.run import checkpoint

    return (run / checkpoint.STATE).exists() and is_unfinished_export(
        out, checkpoint.load(run).facts["recipe"]
    )
