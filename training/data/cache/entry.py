"""One entry of a cache: facts, a table of images, and their pixels."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError
from training.data.cache.decoding import COLUMNS, FULL, MOMENTS, OFFSET, part_name
from training.data.cache.storing import FORMAT
from training.data.stats import ChannelStats, from_moments

FACTS, TABLE = "facts.json", "table.npy"


@dataclass(frozen=True, eq=False)
class CachedPixels:
    """An open entry. Its pixels stay in the file, and are read where they are used."""

    folder: Path
    facts: dict[str, Any]
    table: NDArray[np.int64]
    """A row for each image, [N, 13]: see `COLUMNS`."""
    rows: dict[str, int]
    """From an absolute path to its row."""
    parts: list[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return int(self.facts["bytes"])

    @property
    def pixels_of_file(self) -> int:
        """The mean number of pixels of the image in a file."""
        return int(self.full_sizes.prod(axis=1).mean()) if len(self) else 0

    def broken(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Those of the files that could not be decoded, and why."""
        reasons = self.facts["broken"]
        return {path: reasons[absolute(path)] for path in paths if absolute(path) in reasons}

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of every stored image, [N, 2]."""
        return self.table[:, 2:4]

    @property
    def full_sizes(self) -> NDArray[np.int64]:
        """Height and width of the image in every file, [N, 2]."""
        return self.table[:, FULL]

    def rows_of(self, paths: Sequence[Path]) -> NDArray[np.int64]:
        """The rows of files.

        Raises:
            DataError: a file is not in the entry.
        """
        try:
            return np.array([self.rows[absolute(path)] for path in paths], np.int64)
        except KeyError as error:
            raise DataError(f"{self.folder} does not hold {error}: remove the entry") from error

    def image(self, row: int) -> NDArray[np.uint8]:
        """The pixels of a row, uint8[h, w, 3]: a view of the file."""
        part, offset, height, width = (int(value) for value in self.table[row, :4])
        pixels = self.parts[part][offset : offset + height * width * 3]
        return pixels.reshape(height, width, 3)

    def stats(self, rows: NDArray[np.int64]) -> ChannelStats:
        """Mean and standard deviation of every decoded pixel of these rows."""
        count, *sums = (int(value) for value in self.table[rows, MOMENTS].sum(axis=0))
        return from_moments(count, sums[:3], sums[3:])


def absolute(path: Path) -> str:
    """The name of a file in an entry. Links are not followed."""
    return os.path.abspath(path)


def write(
    folder: Path, facts: dict[str, Any], table: NDArray[np.int64], paths: Sequence[str]
) -> None:
    """Write the table, then the facts, and let the disk have everything in the folder."""
    np.save(folder / TABLE, table)
    parts = [path.stat().st_size for path in sorted(folder.glob("part-*.bin"))]
    content = {"format": FORMAT, **facts, "parts": parts, "paths": list(paths)}
    (folder / FACTS).write_text(json.dumps(content), encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def read(folder: Path) -> CachedPixels | None:
    """Open an entry; None if it is incomplete, altered, or of another format."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        table = np.load(folder / TABLE, allow_pickle=False)
        if not _is_whole(folder, facts, table):
            return None
        parts = [
            np.memmap(folder / part_name(number), np.uint8, "r") if size else np.empty(0, np.uint8)
            for number, size in enumerate(facts["parts"])
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    rows = {path: row for row, path in enumerate(facts["paths"])}
    return CachedPixels(folder, facts, table, rows, parts)


def _is_whole(folder: Path, facts: dict[str, Any], table: NDArray[np.int64]) -> bool:
    """Whether every file has its size, and every row lies in its part."""
    sizes = facts["parts"]
    if facts["format"] != FORMAT or table.dtype != np.int64:
        return False
    if table.shape != (len(facts["paths"]), len(COLUMNS)):
        return False
    if any(
        (folder / part_name(number)).stat().st_size != size for number, size in enumerate(sizes)
    ):
        return False
    if not len(table):
        return True
    ends = table[:, OFFSET] + table[:, 2] * table[:, 3] * 3
    part = table[:, 0]
    if part.min() < 0 or part.max() >= len(sizes) or table[:, OFFSET].min() < 0:
        return False
    return bool((table[:, 2:6] > 0).all() and (ends <= np.array(sizes)[part]).all())
