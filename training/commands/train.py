"""`quincunx train`: a recipe, a folder of images, a run, a model package."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import complete_package
from service.console.stdio import answer, saying_once
from training.commands.options import (
    Backbone,
    Cache,
    CacheFolder,
    CacheLimit,
    CachePx,
    Init,
    Overrides,
    Overwrite,
    RecipeName,
    TrainingData,
    Weights,
    Workers,
    package_or_run,
)

app = typer.Typer()


@app.command()
def train(
    data: TrainingData,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the model package goes: models/NAME.")
    ],
    recipe: RecipeName = "auto",
    backbone: Backbone = "",
    weights: Weights = "",
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
            help="Train for M minutes. The measured speed determines the number of epochs, and the "
            "schedule ends in time. Reading the data is part of the time; the export and the "
            "calibration come after it.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKAGE|RUN",
            help="Also learn from this package or run: the loss gets a term for the difference "
            "from its answers for the same crops (recipe fields distillation.weight and "
            "distillation.temperature).",
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
    cache: Cache = "auto",
    cache_folder: CacheFolder = Path("cache"),
    cache_limit: CacheLimit = 64,
    cache_px: CachePx = 0,
) -> None:
    """Train a recipe, export the network as a model package, and calibrate the package.

    At the end the package is measured on the validation images.

    Every epoch ends with a checkpoint. --resume continues from it with the same schedule, and ends
    with the same weights as an uninterrupted run. Several processes train together if the command
    is started by `accelerate launch` or `torchrun`.
    """
    from training.start.options import Options

    options = Options(recipe, overrides or [], init, backbone, weights)
    options.check()  # before torch is imported

    import torch

    from training.cross_fit.after_training import calibrate_package
    from training.data.named_data import located
    from training.evaluation.after_training import next_commands, report_accuracy
    from training.export.export import export_package
    from training.export.writer import check_replaceable
    from training.fit import distributed
    from training.fit.cached.keeping import CacheOptions
    from training.fit.train import train as run_recipe
    from training.run import checkpoint
    from training.run.tensorboard import TensorBoardLogger
    from training.start.begin import begin

    log = saying_once()
    if threads:
        torch.set_num_threads(threads)
    data = located(data)
    folder = run or Path("runs") / out.name
    if not (resume and _exported_before_it_was_stopped(out, folder)):
        check_replaceable(out, overwrite=overwrite)  # check before hours of training
    beginning = begin(data, options, log, resumed=folder if resume else None)
    if distributed.is_main() and not (folder / checkpoint.STATE).exists():
        beginning.write(folder)
    board = TensorBoardLogger(tensorboard) if tensorboard and distributed.is_main() else None
    try:
        run_recipe(
            data,
            beginning.recipe,
            folder,
            resume=resume,
            initial=beginning.initial,
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
    package = export_package(folder, out, data, rough_int8="leave out", overwrite=True, log=log)
    calibrate_package(
        package,
        folder,
        data,
        read_weights=beginning.read_again,
        workers=workers,
        teacher=teacher,
        log=log,
    )
    report_accuracy(package, data, log)
    answer(package)
    for line in next_commands(package, data):
        log(line)


def _exported_before_it_was_stopped(out: Path, run: Path) -> bool:
    """Whether the run that is resumed had already exported its package when it was stopped."""
    from training.export.writer import is_unfinished_export
    from training.run import checkpoint

    return (run / checkpoint.STATE).exists() and is_unfinished_export(
        out, checkpoint.load(run).facts["recipe"]
    )
