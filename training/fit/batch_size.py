"""The batch and the epochs of a recipe, fitted to the number of images.

A network learns once in each step. If an epoch has only a few steps, the network learns very
little, even if each step sees many images. So the batch is halved until an epoch has enough steps.
If the whole run then has too few steps, it gets more epochs.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil

from service.errors import DataError
from training.recipe import Recipe, Stage

SMALLEST_BATCH = 8
"""Images of one process. With fewer, the statistics of batch normalization are noise."""


def fit_to_data(
    recipe: Recipe, training_images: int, log: Callable[[str], None], processes: int = 1
) -> Recipe:
    """The recipe with smaller batches and more epochs, if there are few images.

    An epoch then has at least `recipe.least_steps` steps, as far as the smallest batch allows, and
    the run at least `recipe.least_updates`. `log` gets a message about each change. Batches are
    never made larger, and epochs never fewer.

    Raises:
        DataError: there are fewer training images than one batch holds.
    """
    batch = recipe.batch_images
    while (
        training_images // batch < recipe.least_steps
        and batch % (2 * processes) == 0
        and batch // 2 >= SMALLEST_BATCH * processes
    ):
        batch //= 2
    if training_images < batch:
        raise DataError(
            f"{training_images} training images are fewer than a batch of {batch}: add "
            f"images, or use a smaller batch with --set batch_images={max(2, training_images // 4)}"
        )
    if batch != recipe.batch_images:
        steps = training_images // batch
        log(
            f"batches of {batch} images instead of {recipe.batch_images}: with "
            f"{training_images} training images an epoch takes {steps} step{'s'[: steps != 1]} "
            f"(--set batch_images={recipe.batch_images} keeps the larger ones)"
        )
    return _with_enough_epochs(replace(recipe, batch_images=batch), training_images // batch, log)


def _with_enough_epochs(recipe: Recipe, steps: int, log: Callable[[str], None]) -> Recipe:
    """The recipe with all stages longer by the same factor. An epoch has `steps` steps."""
    epochs = sum(stage.epochs for stage in recipe.stages)
    if epochs * steps >= recipe.least_updates:
        return recipe
    longer = Fraction(recipe.least_updates, epochs * steps)
    stages = tuple(_longer(stage, longer) for stage in recipe.stages)
    now = sum(stage.epochs for stage in stages)
    log(
        f"{now} epochs instead of {epochs}, so that the network learns in {now * steps} steps "
        "(--set stage.1.epochs=… sets their number)"
    )
    return replace(recipe, stages=stages)


def _longer(stage: Stage, factor: Fraction) -> Stage:
    """The stage with more epochs; its crops grow at the same shares of them.

    The factor is exact: 25 times the epochs must not become 26 by rounding.
    """
    epochs = ceil(stage.epochs * factor)
    grown = tuple((round(start * epochs / stage.epochs), px) for start, px in stage.grow_at)
    return replace(stage, epochs=epochs, grow_at=grown)
