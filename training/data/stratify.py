"""Split labelled files in two, both parts with the same mix of labels.

Copies of a file are never in both parts.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from service.package.manifest import TaskName
from training.data.content.copies import Copies
from training.data.item import Item
from training.task import TRAINING_TASKS

NO_COPIES: Copies = {}


def stratified(
    items: Sequence[Item],
    share: float,
    seed: int | str,
    task: TaskName = "single_label",
    copies: Copies = NO_COPIES,
) -> tuple[list[Item], list[Item]]:
    """Split off `share` of every class (seeded): (the rest, the share).

    `copies` are files that must stay together: see `training.data.content.copies`.
    """
    return TRAINING_TASKS[task].split_off(items, share, seed, copies)


def with_every_label(
    rest: Sequence[Item], taken: Sequence[Item], task: TaskName, copies: Copies = NO_COPIES
) -> tuple[list[Item], list[Item]]:
    """Move images from `taken` to `rest`, so that `rest` has one of every label.

    A large share can take all images of a small class. Copies move together.
    """
    labels_of = TRAINING_TASKS[task].labels_of
    known = {label for item in rest for label in labels_of(item)}
    moved: set[Item] = set()
    for item in taken:
        if item in moved or known.issuperset(labels_of(item)):
            continue
        number = copies.get(item.path)
        same = [item] if number is None else [i for i in taken if copies.get(i.path) == number]
        moved.update(same)
        known.update(label for one in same for label in labels_of(one))
    return [*rest, *(i for i in taken if i in moved)], [i for i in taken if i not in moved]


def by_class(
    items: Sequence[Item], share: float, seed: int | str, copies: Copies = NO_COPIES
) -> tuple[list[Item], list[Item]]:
    """For images of one class each: the share of every class, rounded.

    Copies of a file may be in several classes. Then each class keeps its own copies together.
    """
    groups_of: dict[str, list[list[Item]]] = {}
    known: dict[tuple[str, int], list[Item]] = {}
    for item in items:
        number, groups = copies.get(item.path), groups_of.setdefault(item.label, [])
        if number is not None and (group := known.get((item.label, number))) is not None:
            group.append(item)
            continue
        groups.append([item])
        if number is not None:
            known[item.label, number] = groups[-1]
    counts = {label: round(share * _total(groups)) for label, groups in groups_of.items()}
    _give_to_small(counts, groups_of, share, seed)
    rest: list[Item] = []
    taken: list[Item] = []
    for label in sorted(groups_of):
        groups = groups_of[label]
        random.Random(f"{seed}/{label}").shuffle(groups)
        left, most = counts[label], _total(groups)
        for group in groups:
            # A group is taken if this brings the count nearer to what is wanted, or as near.
            nearer = left > 0 and len(group) <= 2 * left
            all_of_them = counts[label] < _total(groups) and len(group) == most
            if nearer and not all_of_them:
                taken += group
                left -= len(group)
                most -= len(group)
            else:
                rest += group
    return rest, taken


def _total(groups: Sequence[Sequence[Item]]) -> int:
    return sum(map(len, groups))


def _give_to_small(
    counts: dict[str, int],
    groups_of: Mapping[str, Sequence[Sequence[Item]]],
    share: float,
    seed: int | str,
) -> None:
    """Some of the classes that are too small for an image of their own give one image, by chance.

    Together they give `share` of their images. Without this, a thousand classes of nine images
    would have no calibration split at 5%.
    """
    if not 0 < share < 1:
        return
    small = sorted(label for label, count in counts.items() if not count)
    owed = round(share * sum(_total(groups_of[label]) for label in small))
    able = [label for label in small if len(groups_of[label]) > 1]
    for label in random.Random(f"{seed}/small").sample(able, min(owed, len(able))):
        counts[label] = 1


def by_labels(
    items: Sequence[Item], share: float, seed: int | str, copies: Copies = NO_COPIES
) -> tuple[list[Item], list[Item]]:
    """Iterative stratification (Sechidis et al., 2011): the rarest label is distributed first.

    Each image with that label goes, with its copies, to the part that lacks the larger share of the
    label.
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
    together: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        if (number := copies.get(item.path)) is not None:
            together.setdefault(number, []).append(index)
    left = Counter({label: len(own) for label, own in holders.items()})

    def put(index: int, where: int) -> None:
        number = copies.get(items[index].path)
        for same in [index] if number is None else together[number]:
            part[same] = where
            room[where] -= 1
            for label in labels[same]:
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
