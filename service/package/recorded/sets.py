"""Which rows of metrics were measured on the same images."""

from collections.abc import Sequence
from string import ascii_uppercase

from service.package.recorded.metrics import Row


def same_images(one: Row, other: Row) -> bool:
    """Whether both were measured on the same images, as far as the rows say."""
    if one.images != other.images:
        return False
    known = one.images_digest and other.images_digest
    return not known or one.images_digest == other.images_digest


def letters(rows: Sequence[Row]) -> list[str]:
    """A letter for each row, the same for the same images; empty if all have the same images."""
    firsts: list[Row] = []
    found: list[str] = []
    for row in sorted(rows, key=lambda row: row.images_digest is None):  # known sets first
        if not any(same_images(row, first) for first in firsts):
            firsts.append(row)
    numbers: list[int] = []
    for row in rows:
        number = next(i for i, first in enumerate(firsts) if same_images(row, first))
        numbers += [] if number in numbers else [number]
        found.append(_letter(numbers.index(number)))
    return found if len(firsts) > 1 else []


def _letter(number: int) -> str:
    """A, B, … Z, AA, AB, …"""
    before, last = divmod(number, len(ascii_uppercase))
    return (_letter(before - 1) if before else "") + ascii_uppercase[last]
