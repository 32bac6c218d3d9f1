"""The networks of cross-fitting: trained as the package's network was, each on a part."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.cross_fit.deal import deal
from training.cross_fit.fold import Fold
from training.data.dataset import Split
from training.export.export import export_package
from training.fit.train import train
from training.network.initial_weights import InitialWeights
from training.recipe import Recipe
from training.run import checkpoint

FOLDER = "folds"
"""In the folder of the run: runs and packages of the folds. They are removed when all is done."""

Log = Callable[[str], None]


def fold_packages(
    run: Path,
    images: Split,
    data: Path,
    *,
    initial: InitialWeights | None,
    int8: bool = True,
    workers: int = 0,
    teacher: Path | None = None,
    log: Log = print,
) -> list[Fold]:
    """Train and export a network for each fold of the training images of the finished `run`.

    Each starts from `initial`, as the run did, and does as many epochs. `int8` says whether the
    package has an int8 graph; then each network has one, however rough. After a stop, the networks
    that were trained already are used again.
    """
    facts = checkpoint.load(run).facts
    recipe = _of_a_fold(Recipe.from_json(facts["recipe"]), len(facts["history"]), facts["plan"])
    dealt = deal(images, recipe.calibration_folds, recipe.split_seed)
    made: list[Fold] = []
    for number, split in enumerate(dealt, start=1):
        log(
            f"network {number} of {len(dealt)} for the calibration: {len(split.train)} images to "
            f"train on, {len(split.calibration)} others to answer for"
        )
        own = run / FOLDER / f"fold-{number}"
        shared = {"images": split, "log": _silent}
        train(
            data, _with_fitting_batch(recipe, split), own / "run",
            resume=True, initial=initial, workers=workers, teacher=teacher, **shared,
        )  # fmt: skip
        package = export_package(
            own / "run", own / own.name, data,
            int8=int8, rough_int8="keep", overwrite=True, **shared,
        )  # fmt: skip
        made.append(Fold(package, split.calibration))
    return made


def remove(run: Path) -> None:
    """Remove the networks of the folds from the folder of the run."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _of_a_fold(recipe: Recipe, epochs: int, plan: object) -> Recipe:
    """The recipe with as many epochs as the run did."""
    fixed = replace(recipe, least_steps=0, least_updates=0, checkpoint_epochs=10**6)
    if not plan:
        return fixed
    return replace(fixed, stages=(replace(fixed.stages[0], epochs=epochs),))


def _with_fitting_batch(recipe: Recipe, split: Split) -> Recipe:
    """The recipe with a batch that the training part of the fold can fill."""
    batch = recipe.batch_images
    while batch > len(split.train) and batch > 2:
        batch //= 2
    return replace(recipe, batch_images=batch)


def _silent(_: str) -> None:
    """The messages of the run itself have said it."""
