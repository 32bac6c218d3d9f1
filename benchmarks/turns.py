"""The order of a benchmark: what is compared takes turns."""

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

Case = TypeVar("Case")


def in_turns(cases: Iterable[Case], rounds: Iterable[int]) -> Iterator[tuple[int, Case]]:
    """The number of a round and a case: every case once a round, in a new random order.

    A machine that slows down then slows all cases alike.
    """
    every = list(cases)
    for number in rounds:
        for case in random.Random(number).sample(every, len(every)):
            yield number, case
