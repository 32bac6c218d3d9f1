"""Deal the images of a small data set into folds."""

from dataclasses import replace

from training.data.dataset import Split
from training.data.item import Item
from training.task import TRAINING_TASKS


def deal(images: Split, folds: int, seed: int) -> list[Split]:
    """For each fold, a split whose calibration part is the fold and whose training part the rest.

    Only the training images are dealt, every class evenly. A fold leaves out an image that is the
    last of a class: a network must be trained on every class that it answers for.
    """
    of_task, rest, parts = TRAINING_TASKS[images.task], list(images.train), list[list[Item]]()
    for left in range(folds, 1, -1):
        rest, part = of_task.split_off(rest, 1 / left, f"{seed}/fold {left}", images.copies)
        parts.append(part)
    dealt: list[Split] = []
    for part in (*parts, rest):
        own = set(part)
        train = [item for item in images.train if item not in own]
        known = {label for item in train for label in of_task.labels_of(item)}
        last = [item for item in part if not known.issuperset(of_task.labels_of(item))]
        held = tuple(item for item in part if item not in last)
        dealt.append(replace(images, train=(*train, *last), calibration=held, notes=()))
    return [split for split in dealt if split.calibration]
