"""Split labelled files in two, both parts with the same mix of labels."""

import random
from collections import Counter
from collections.abc import Sequence

from service.package.manifest import TaskName
from training.data.item import Item
from training.task import TRAINING_TASKS


def stratified(
    items: Sequence[Item],
    share: float,
    seed: int | str,
    task: TaskName = "single_label",
) -> tuple[list[Item], list[Item]]:
    """Split off `share` of every class (seeded): (the rest, the share)."""
    return TRAINING_TASKS[task].split_off(items, share, seed)


def by_class(items: Sequence[Item], share: float, seed: int | str) -> tuple[list[Item], list[Item]]:
    """For images of one class each: the share of every class, rounded."""
    members_of: dict[str, list[Item]] = {}
    for item in items:
        members_of.setdefault(item.label, []).append(item)
    counts = {label: round(share * len(members)) for label, members in members_of.items()}
    _give_to_small(counts, members_of, share, seed)
    rest: list[Item] = []
    taken: list[Item] = []
    for label in sorted(members_of):
        members = members_of[label]
        random.Random(f"{seed}/{label}").shuffle(members)
        taken += members[: counts[label]]
        rest += members[counts[label] :]
    return rest, taken


def _give_to_small(
    counts: dict[str, int], members_of: dict[str, list[Item]], share: float, seed: int | str
) -> None:
    """Some of the classes that are too small for an image of their own give one image, by chance.

    Together they give `share` of their images. Without this, a thousand classes of nine images
    would have no calibration split at 5%.
    """
    if not 0 < share < 1:
        return
    small = sorted(label for label, count in counts.items() if not count)
    owed = round(share * sum(len(members_of[label]) for label in small))
    able = [label for label in small if len(members_of[label]) > 1]
    for label in random.Random(f"{seed}/small").sample(able, min(owed, len(able))):
        counts[label] = 1


def by_labels(
    items: Sequence[Item], share: float, seed: int | str
) -> tuple[list[Item], list[Item]]:
    """Iterative stratification (Sechidis et al., 2011): the rarest label is distributed first.

    Each image with that label goes to the part that lacks the larger share of the label.
    """
    order = list(range(len(items)))
    random.Random(f"{seed}").shuffle(order)
    labels = [items[index].labels for index in range(len(items))]
    holders: dict[str, list[int]] = {}
    for index in order:
        for label in labels[index]:
            holders.setdefault(label, []).append(index)
    shares = (1 - share, share)
    wanted = [Counter({label: s * len(own) for label, own in holders.items()}) for s in shares]
    room = [s * len(items) for s in shares]
    part: dict[int, int] = {}
    left = Counter({label: len(own) for label, own in holders.items()})

    def put(index: int, where: int) -> None:
        part[index] = where
        room[where] -= 1
        for label in labels[index]:
            wanted[where][label] -= 1  # type: ignore[assignment]  # a Counter of floats
            left[label] -= 1

    while left := +left:
        rarest = min(left, key=lambda label: (left[label], label))
        for index in holders[rarest]:
            if index not in part:
                lacks = [(wanted[where][rarest], room[where]) for where in (0, 1)]
                put(index, int(lacks[1] > lacks[0]))
    for index in order:
        if index not in part:
            put(index, int(room[1] > room[0]))
    taken = [items[i] for i in sorted(part) if part[i]]
    return [items[i] for i in sorted(part) if not part[i]], taken
