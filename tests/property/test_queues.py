"""The queues of views against a plain list: the same views leave in the same order."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.inference.tta.passes import Key, View
from service.scheduler.queue import PendingImage, Queues

SIDES = (1, 2)
"""Views of equal sides can share a batch."""


@dataclass
class Listed:
    """Waiting views as one list, in the order in which they should leave."""

    views: list[tuple[int, int, PendingImage]]

    def pop(self, share: int, most: int, *, whole_images: bool) -> list[tuple[int, int]]:
        taken: list[tuple[int, int, PendingImage]] = []
        while self.views and not taken:
            self.views.sort(key=lambda one: one[:2])
            kind = [one for one in self.views if _key(one) == _key(self.views[0])]
            here = [one for one in kind if not one[2].gone]
            taken = here[: min(share, most)]
            if whole_images:
                taken += [one for one in here[len(taken) : most] if one[0] == taken[-1][0]]
            # Views of images that are gone stay until the queue comes to them.
            passed = kind[: kind.index(taken[-1]) + 1] if taken else kind
            self.views = [one for one in self.views if one not in passed]
        return [one[:2] for one in taken]


def _key(one: tuple[int, int, PendingImage]) -> Key:
    return one[2].views[one[1]].key


def image_of(number: int, sides: list[int]) -> PendingImage:
    image = PendingImage(number, cast(Any, None), cast(Any, None))
    image.views = [View(np.zeros((side, side, 3), np.uint8), "logits") for side in sides]
    return image


images = st.lists(st.lists(st.sampled_from(SIDES), min_size=1, max_size=5), max_size=8)
pops = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.booleans()), max_size=12)


@given(images, pops, st.randoms(use_true_random=False))
def test_views_leave_in_the_order_of_their_images(
    kinds: list[list[int]], asked: list[tuple[int, int, bool]], random: Any
) -> None:
    queues, listed = Queues(), Listed([])
    waiting = [image_of(number, sides) for number, sides in enumerate(kinds)]
    for image in random.sample(waiting, len(waiting)):
        queues.push(image)
        listed.views += [(image.number, at, image) for at in range(len(image.views))]
    assert len(queues) == sum(map(len, kinds))
    for share, most, whole_images in asked:
        if random.random() < 0.3 and waiting:
            random.choice(waiting).gone = True
        expected = listed.pop(share, most, whole_images=whole_images)
        parts = queues.pop(share, most, whole_images=whole_images)
        assert [(part.image.number, at) for part in parts for at in part.indices] == expected
    while queues:
        queues.pop(8, 8, whole_images=True)
    assert len(queues) == 0


def test_of_one_image() -> None:
    queues = Queues()
    assert not queues.of_one_image()
    queues.push(image_of(0, [1, 1, 1]))
    assert queues.of_one_image()
    queues.pop(1, 8, whole_images=False)
    assert queues.of_one_image()
    queues.push(image_of(1, [1]))
    assert not queues.of_one_image()
    different = Queues()
    different.push(image_of(0, [1, 2]))
    assert not different.of_one_image()
