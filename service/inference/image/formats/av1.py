"""The pixels that AV1 data makes a decoder work for, read from its headers without decoding.

Names and order of the fields: AV1 bitstream specification, 5.3 to 5.9.
"""

from collections.abc import Iterator
from typing import NamedTuple

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY_FRAME, _SWITCH_FRAME = 0, 3
_SELECT = 2
_HEADER_BYTES = 512


class Unit(NamedTuple):
    """One unit of AV1 data (OBU), the first bytes of it."""

    kind: int
    head: memoryview


class Sequence(NamedTuple):
    """What a sequence header says."""

    pixels: int
    may_resize: bool
    """Frames may have sizes of their own; not in the short header of still pictures."""
    time_bits: int = 0
    id_bits: int = 0
    screen_content: int = 0
    integer_motion: int = 0


class Bits:
    """Reads numbers of any width, the highest bit first."""

    def __init__(self, data: memoryview) -> None:
        self._value, self._left = int.from_bytes(data, "big"), len(data) * 8

    def take(self, count: int) -> int:
        """The next bits as a number.

        Raises:
            ValueError: there are not that many.
        """
        if count > self._left:
            raise ValueError("an AV1 header is cut short")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def skip_variable(self) -> None:
        """Pass over a number that has as many bits as there are zeros before it."""
        zeros = 0
        while self.take(1) == 0:
            zeros += 1
        self.take(zeros if zeros < 32 else 0)


def work_pixels(data: memoryview) -> int:
    """Count the pixels of every frame, shown or not.

    Raises:
        ValueError: no AV1 data, or frames of other sizes than the sequence header says.
    """
    sequence, pixels = None, 0
    for unit in _units(data):
        if unit.kind == _SEQUENCE:
            sequence = _sequence(Bits(unit.head))
        elif unit.kind in (_FRAME, _FRAME_HEADER) and sequence is not None:
            if sequence.may_resize and _resizes(Bits(unit.head), sequence):
                raise ValueError("the frames of the AV1 data change their size")
            pixels += sequence.pixels
    if sequence is None:
        raise ValueError("the AV1 data has no sequence header")
    return max(pixels, sequence.pixels)


def _units(data: memoryview) -> Iterator[Unit]:
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1  # with an extension
        end = len(data)
        if head & 2:  # with a size
            size, at = _leb128(data, at)
            end = at + size
        yield Unit(head >> 3 & 15, data[at : min(end, at + _HEADER_BYTES)])
        at = end


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits in each byte, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 8]):
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value, at + place + 1
    raise ValueError("an AV1 unit has no size")


def _sequence(bits: Bits) -> Sequence:
    bits.take(4)  # profile, still picture
    if bits.take(1):
        bits.take(5)  # level
        return Sequence(_pixels(bits), may_resize=False)
    delay_bits, time_bits = 0, 0
    if bits.take(1):  # timing
        bits.take(64)
        equal_intervals = bits.take(1)
        if equal_intervals:
            bits.skip_variable()
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5)
            length = bits.take(5) + 1
            time_bits = 0 if equal_intervals else length
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):  # operating points
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)
    pixels = _pixels(bits)
    id_bits = bits.take(4) + 2 + bits.take(3) + 1 if bits.take(1) else 0
    bits.take(3 + 4)  # block size, filters; four kinds of prediction
    if bits.take(1):  # order hints
        bits.take(2)
    screen_content = _SELECT if bits.take(1) else bits.take(1)
    integer_motion = _SELECT
    if screen_content and not bits.take(1):
        integer_motion = bits.take(1)
    return Sequence(pixels, True, time_bits, id_bits, screen_content, integer_motion)


def _pixels(bits: Bits) -> int:
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(width_bits) + 1) * (bits.take(height_bits) + 1)


def _resizes(bits: Bits, sequence: Sequence) -> bool:
    """Whether a frame header gives its frame another size than the sequence's."""
    if bits.take(1):  # shows a frame that was decoded before
        return False
    kind, shown = bits.take(2), bits.take(1)
    if shown:
        bits.take(sequence.time_bits)
    else:
        bits.take(1)
    if kind == _SWITCH_FRAME:
        return True
    if not (kind == _KEY_FRAME and shown):
        bits.take(1)  # error resilience
    bits.take(1)  # cumulative updates
    screen_content = sequence.screen_content
    if screen_content == _SELECT:
        screen_content = bits.take(1)
    if screen_content and sequence.integer_motion == _SELECT:
        bits.take(1)
    bits.take(sequence.id_bits)
    return bool(bits.take(1))
