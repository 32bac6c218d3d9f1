"""Open the entry of some files, or make it."""

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import DataError, OutOfResources
from training.data.cache import cache_folder, entry
from training.data.cache.decoding import COLUMNS, Chunk, decode_all, row_of
from training.data.cache.entry import CachedPixels
from training.data.cache.storing import Storing
from training.run.progress import progress_bar

SAMPLE = 32
"""Images that are decoded to estimate the size of all."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of all stored images, and the mean number of pixels of the image in a file."""

    nbytes: int
    pixels_of_file: int


@dataclass(frozen=True)
class Cache:
    """Where decoded images are kept, how many bytes they may take, and how they are stored."""

    storing: Storing
    folder: Path = cache_folder.FOLDER
    limit: int = int(cache_folder.LIMIT_GIB * cache_folder.GIB)

    def existing(self, paths: Sequence[Path]) -> CachedPixels | None:
        """The finished entry of these files, if there is one."""
        key = cache_folder.key_of(_names(paths), self.storing)
        found = entry.read(self.folder / key)
        if found:
            cache_folder.touch(found.folder)
        return found

    def estimate(self, paths: Sequence[Path]) -> Estimate:
        """What the images will take, from a sample. Files that cannot be decoded count nothing."""
        names = _names(paths)
        stored: list[int] = []
        full: list[int] = []
        for path in names[:: max(1, len(names) // SAMPLE)]:
            try:
                pixels, (_, _, height, width, *_) = row_of(path, self.storing)
            except DataError:
                continue
            stored.append(pixels.nbytes)
            full.append(height * width)
        if not stored:
            return Estimate(0, 0)
        return Estimate(int(np.mean(stored) * len(names)), int(np.mean(full)))

    def build(
        self, paths: Sequence[Path], data: str, log: Callable[[str], None] = print
    ) -> CachedPixels:
        """Decode the files and write their entry. A folder appears only when it is complete.

        Raises:
            DataError: the images do not fit into the limit or on the disk.
            OutOfResources: memory ran out, or the folder cannot be written.
        """
        names = _names(paths)
        with _writing(self.folder):
            return self._build(names, self.estimate(paths).nbytes, data, log)

    def _build(
        self, names: Sequence[str], needed: int, data: str, log: Callable[[str], None]
    ) -> CachedPixels:
        cache_folder.remove_unfinished(self.folder)
        cache_folder.make_room(self.folder, needed, self.limit, log)
        key = cache_folder.key_of(names, self.storing)
        new = cache_folder.unfinished(self.folder, key)
        try:
            table, stored, broken = self._decode(names, new)
            facts = {
                "data": data,
                "stored": str(self.storing),
                "bytes": int((table[:, 2] * table[:, 3]).sum()) * 3,
                "broken": broken,
            }
            entry.write(new, facts, table, stored)
            if key != cache_folder.key_of(names, self.storing):
                raise DataError(f"files of {data} changed while they were decoded: start again")
            self._publish(new, self.folder / key)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        made = entry.read(self.folder / key)
        if made is None:
            raise DataError(f"{self.folder / key} was removed or changed by another program")
        return made

    def _publish(self, new: Path, final: Path) -> None:
        """Rename a complete entry. If another process was first, keep the entry of that process."""
        if entry.read(final) is not None:
            return
        shutil.rmtree(final, ignore_errors=True)  # incomplete or altered
        try:
            new.rename(final)
        except OSError:
            if entry.read(final) is None:
                raise

    def _decode(
        self, names: Sequence[str], new: Path
    ) -> tuple[np.ndarray, list[str], dict[str, str]]:
        chunks: list[Chunk] = []
        taken = cache_folder.used_bytes(self.folder)
        with progress_bar(bool(names)) as bar:
            task = bar.add_task("decoding images", total=len(names), loss="")
            for chunk in decode_all(names, self.storing, new):
                chunks.append(chunk)
                taken += chunk.nbytes
                if taken > self.limit:
                    raise DataError(
                        f"the decoded images take more than the cache may hold: "
                        f"{cache_folder.size_text(self.limit)} (--cache-limit). Raise it, store "
                        "smaller images (--cache-px), or train with --cache off"
                    )
                bar.advance(task, chunk.images)
        rows = [np.empty((0, len(COLUMNS)), np.int64), *(chunk.rows for chunk in chunks)]
        stored = [names[index] for chunk in chunks for index in chunk.stored]
        broken = {
            names[index]: reason for chunk in chunks for index, reason in chunk.broken.items()
        }
        return np.concatenate(rows), stored, broken


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise OutOfResources(
            f"{folder} cannot be written: {error.strerror or error}; name another folder with "
            "--cache-folder, or train with --cache off"
        ) from error


def _names(paths: Sequence[Path]) -> list[str]:
    """Each file once, in an order that does not depend on the split."""
    return sorted({entry.absolute(path) for path in paths})
