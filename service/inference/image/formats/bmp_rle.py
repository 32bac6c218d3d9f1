"""Run lengths of bitmaps: RLE4, RLE8 and OS/2's RLE24."""

from service.errors import BadImage
from service.inference.image.clock import Clock

_END_OF_ROW, _END, _MOVE = 0, 1, 2
CHECK_EVERY = 4096
_HALVES = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))


def unpack(data: memoryview, size: tuple[int, int], bits: int, clock: Clock) -> bytearray:
    """Unpack the rows in the order of the file: a byte a pixel, or three of 24 bits.

    Pixels that no run covers are 0.

    Raises:
        BadImage: the data ends before the last row does.
        TooLarge: the time is up.
    """
    width, height = size
    pixel = 3 if bits == 24 else 1
    row = width * pixel
    out = bytearray(row * height)
    x = y = at = 0
    for number in range(len(data)):
        if number % CHECK_EVERY == 0:
            clock.check()
        if y >= height or at + 1 >= len(data):
            break
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = bytes(data[at - 1 : at - 1 + pixel])
            at += pixel - 1
            if bits == 4:
                run = bytes((value >> 4, value & 15)) * (count + 1 >> 1)
            else:
                run *= count
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        elif value == _END:
            return out
        elif value == _MOVE:
            if at + 1 >= len(data):
                break
            x, y, at = x + data[at], y + data[at + 1], at + 2
            continue
        else:
            count = value
            packed = bytes(data[at : at + ((count + 1) // 2 if bits == 4 else count * pixel)])
            at += len(packed) + len(packed) % 2
            run = packed
            if bits == 4:
                run = packed.hex().encode().translate(_HALVES)
        # What reaches beyond the row is left out.
        begin, end = min(x, width) * pixel, min(x + count, width) * pixel
        out[y * row + begin : y * row + end] = run[: end - begin].ljust(end - begin, b"\0")
        x += count
    if y < height - 1 or (y == height - 1 and x < width):
        raise BadImage(f"the BMP is cut short: it ends in row {y + 1} of {height}")
    return out
