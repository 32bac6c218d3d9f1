"""How many images a step of the optimizer takes: the recipe's number, or fewer with little data.

A network learns once in each step. If an epoch has only a few steps, the network learns very
little, even if each step sees many images. So the batch is halved until an epoch has enough steps.
"""

from collections.abc import Callable
from dataclasses import replace

from service.errors import DataError
from training.recipe import Recipe

SMALLEST_BATCH = 8
"""Images of one process. With fewer, the statistics of batch normalization are noise."""


def fit_to_data(
    recipe: Recipe, training_images: int, log: Callable[[str], None], processes: int = 1
) -> Recipe:
    """The recipe with a batch that gives an epoch at least `recipe.least_steps` steps, if it can.

    A message says when the batch changes. Batches are never made larger.

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
    return replace(recipe, batch_images=batch)
