"""The images that a benchmark runs on: the user's own photos, as they are or enlarged, or JPEGs
drawn in memory."""

import io
import random
import statistics
import tempfile
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from service.bench.drawing import QUALITY, draw
from service.bench.enlarging import enlarge
from service.bench.image_size import STANDARD, ImageSize
from service.errors import BadImage, ClientError, TooLarge, UnsupportedImage, UsageError
from service.inference.decode import decode
from service.listing.image_files import is_decoded
from service.listing.skipped import Skipped
from service.scoring.files import read_bytes
from service.scoring.sources.walk import UnreadablePath, walk

DRAWN = 16
DRAWN_LARGE = 8
LARGE_PIXELS = 4_000_000
"""Of images with more pixels, `DRAWN_LARGE` are drawn: each takes a quarter of a second."""
ENLARGED = 64
"""Photos of a folder that are enlarged: 12 MP take half a second and 3 MB each."""


@dataclass(frozen=True)
class Photos:
    """Encoded images, and one line that says what they are."""

    files: tuple[bytes, ...]
    description: str
    content_type: str | None = None
    """Of every file; None: read off its first bytes."""
    skipped: Skipped = field(default_factory=Skipped)
    """Files of the user's folder that are no images; the description counts them too."""
    names: tuple[str, ...] = ()
    """The paths of `files`; drawn images have none."""

    @contextmanager
    def naming_a_broken_file(self) -> Generator[None]:
        """Name the file in an error about an image that cannot be decoded.

        All files are decoded again to find it, but only after such an error.

        Raises:
            UsageError: a file of the user's folder cannot be decoded.
        """
        try:
            yield
        except (BadImage, TooLarge, UnsupportedImage) as error:
            for name, data in zip(self.names, self.files, strict=False):
                try:
                    decode(data)
                except ClientError as reason:
                    raise UsageError(f"{name}: {reason}; take the file away") from error
            raise


def photos(folder: Path | None, size: ImageSize | None, seed: int, most: int = 256) -> Photos:
    """Read the images of `folder`, or draw images of `size` (by default `STANDARD`).

    With both, `ENLARGED` photos of the folder, chosen with `seed`, are enlarged to `size`; see
    `service.bench.enlarging`. The description counts files of the folder that are no images.

    Raises:
        UsageError: a folder without images, a file that cannot be read, or one that cannot be
            decoded and enlarged.
    """
    if folder is None:
        return drawn(size or STANDARD, seed=seed)
    skipped = Skipped()
    paths = list(walk(str(folder), skipped, wanted=is_decoded))
    held = "; ".join(skipped.lines())
    if not paths:
        raise UsageError(f"{folder} has no images that can be decoded" + (held and f"; {held}"))
    if size is None:
        chosen, which = paths[:most], "the first"
        files = tuple(_read(path) for path in chosen)
        told = [f"{len(files)} files, {_mean_kb(files)} kB on average, {sizes(files)}"]
    else:
        chosen, which = random.Random(seed).sample(paths, min(len(paths), ENLARGED)), "chosen"
        files = tuple(_enlarged(path, size, seed + i) for i, path in enumerate(chosen))
        told = [
            f"{len(files)} photos, enlarged to {size} px with grain, quality {QUALITY}, "
            f"{_mean_kb(files)} kB on average"
        ]
    if len(paths) > len(chosen):
        told.append(f"{which} of {len(paths)}")
    return Photos(files, "; ".join([*told, *skipped.lines()]), skipped=skipped, names=tuple(chosen))


def _enlarged(path: str, size: ImageSize, seed: int) -> bytes:
    try:
        return enlarge(_read(path), size, seed)
    except ClientError as error:
        raise UsageError(f"{path} cannot be enlarged: {error}") from error


def _read(path: str) -> bytes:
    try:
        if isinstance(path, UnreadablePath):
            raise UsageError(f"{path} cannot be listed: {path.reason}")
        return read_bytes(path)
    except (OSError, TooLarge) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"{path} cannot be read: {reason or error}") from error


def drawn(size: ImageSize, seed: int, count: int | None = None) -> Photos:
    """Draw `count` JPEGs: by default 16, of large ones 8."""
    files = draw(size, seed, count or (DRAWN_LARGE if size.pixels > LARGE_PIXELS else DRAWN))
    return Photos(
        files,
        f"{len(files)} drawn JPEGs of {size} px, quality {QUALITY}, "
        f"{_mean_kb(files)} kB on average",
    )


@contextmanager
def drawn_folder(size: ImageSize) -> Generator[Path]:
    """A folder of drawn JPEGs, named after their size, for a benchmark that reads files."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / size.in_file_names
        folder.mkdir()
        for number, data in enumerate(drawn(size, seed=0).files):
            (folder / f"{number}.jpg").write_bytes(data)
        yield folder


def sizes(files: Iterable[bytes]) -> str:
    """Say which sizes in pixels the images have; an image with an unreadable header has none."""
    found = [size for size in map(_size, files) if size]
    if not found:
        return "of unknown size"
    if len(set(found)) == 1:
        return f"of {found[0]} px"
    pixels = [size.pixels for size in found]
    return (
        f"of {min(pixels) / 1e6:.2f} to {max(pixels) / 1e6:.2f} MP, "
        f"{statistics.median(pixels) / 1e6:.2f} MP in the median"
    )


def _size(data: bytes) -> ImageSize | None:
    """The size that the header says; the pixels are not decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a large image: nothing of it is decoded here
            with Image.open(io.BytesIO(data)) as image:
                return ImageSize(*image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _mean_kb(files: Sequence[bytes]) -> int:
    return round(sum(map(len, files)) / len(files) / 1000)
