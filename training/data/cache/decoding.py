"""Decode files into the parts of a cache entry, in several processes."""

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError, OutOfResources
from service.inference.image.views import resize
from service.inference.runtime.cores import usable_cores
from training.data.cache.storing import Storing
from training.data.pixels import open_image

CHUNK_IMAGES = 64
IMAGES_PER_PROCESS = 128
"""Fewer images are not worth another process."""
START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""As the loaders of torch do it. A process that decodes uses no thread of its parent."""

COLUMNS = (
    "part", "offset", "height", "width", "full_height", "full_width",
    "pixels", "sum_r", "sum_g", "sum_b", "squares_r", "squares_g", "squares_b",
)  # fmt: skip
"""A row of the table, int64. `full_*` is the size of the file's image. `pixels` and the sums of all
values and squares are those of the decoded image, before it is resized."""
OFFSET, FULL, MOMENTS = 1, slice(4, 6), slice(6, 13)


@dataclass
class Chunk:
    """What a process made of some files: their rows, and why others could not be decoded."""

    rows: NDArray[np.int64]
    stored: list[int] = field(default_factory=list)
    """The number of each row's file."""
    broken: dict[int, str] = field(default_factory=dict)

    @property
    def images(self) -> int:
        return len(self.stored) + len(self.broken)

    @property
    def nbytes(self) -> int:
        return int((self.rows[:, 2] * self.rows[:, 3]).sum()) * 3


def decode_all(paths: Sequence[str], storing: Storing, folder: Path) -> Iterator[Chunk]:
    """Write the pixels of every file to parts in `folder`; what was made, in any order.

    Raises:
        OSError: `folder` cannot be written.
        OutOfResources: memory or open files ran out.
    """
    count = min(usable_cores(), max(1, len(paths) // IMAGES_PER_PROCESS))
    starts = range(0, len(paths), CHUNK_IMAGES)
    if count == 1:
        part = _Part(folder, 0, storing)
        try:
            for start in starts:
                yield part.decode(paths[start : start + CHUNK_IMAGES], start)
        finally:
            part.close()
        return
    context = multiprocessing.get_context(START_METHOD)
    numbers = context.Value("i", 0)
    with ProcessPoolExecutor(count, context, _begin, (folder, numbers, storing)) as pool:
        with warnings.catch_warnings():
            # Python 3.12 warns of locks that threads hold during a fork. These processes take none.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            tasks = [pool.submit(_decode, paths[at : at + CHUNK_IMAGES], at) for at in starts]
        try:
            for task in tasks:
                yield task.result()
        except BrokenProcessPool as error:
            raise OutOfResources(
                "a process that decodes images was ended, perhaps because memory ran out: give "
                "the machine more memory, or train with --cache off"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def row_of(path: str, storing: Storing) -> tuple[NDArray[np.uint8], list[int]]:
    """The stored pixels of a file, uint8[h, w, 3], and its row from `height` on.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    image = open_image(Path(path), storing.least_size())
    pixels = np.ascontiguousarray(resize(image, storing.stored(image.size)))
    counts = np.array(image.image.histogram(), np.int64).reshape(3, 256)
    levels = np.arange(256)
    return pixels, [
        *pixels.shape[:2],
        image.size.height,
        image.size.width,
        int(counts[0].sum()),
        *(int(value) for value in counts @ levels),
        *(int(value) for value in counts @ levels**2),
    ]


class _Part:
    """The file that one process appends to."""

    def __init__(self, folder: Path, number: int, storing: Storing) -> None:
        self.number, self.storing, self.offset = number, storing, 0
        self.stream = (folder / part_name(number)).open("wb")

    def decode(self, paths: Sequence[str], first: int) -> Chunk:
        rows: list[list[int]] = []
        chunk = Chunk(np.empty((0, len(COLUMNS)), np.int64))
        for index, path in enumerate(paths, first):
            try:
                pixels, row = row_of(path, self.storing)
            except DataError as error:
                chunk.broken[index] = str(error).removeprefix(f"{path}: ")
                continue
            self.stream.write(pixels.data)
            rows.append([self.number, self.offset, *row])
            chunk.stored.append(index)
            self.offset += pixels.nbytes
        chunk.rows = np.array(rows, np.int64).reshape(-1, len(COLUMNS))
        self.stream.flush()
        return chunk

    def close(self) -> None:
        with suppress(OSError):  # after an error, what is not written is not needed
            self.stream.close()


def part_name(number: int) -> str:
    """The file of a part."""
    return f"part-{number:03}.bin"


_own: list[_Part] = []


def _begin(folder: Path, numbers: Any, storing: Storing) -> None:
    """Open the part of this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1
    _own.append(_Part(folder, number, storing))


def _decode(paths: Sequence[str], first: int) -> Chunk:
    return _own[0].decode(paths, first)
