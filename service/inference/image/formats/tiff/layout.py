"""How a TIFF stores its samples, read from its tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from service.errors import BadImage, UnsupportedImage
from service.inference.image.formats.ifd import Directory

T = TypeVar("T")
MAX_SAMPLES = 64
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
CONTIGUOUS, SEPARATE = 1, 2
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, YCBCR = 0, 1, 2, 5, 6
UNCOMPRESSED, OLD_JPEG, JPEG = 1, 6, 7
FAX = (2, 3, 4)
_WITH_PREDICTOR = (5, 8, 32946, 34925, 50000)
"""LZW, Deflate (two numbers), LZMA, Zstandard. libtiff ignores the tag with other compressions, so
all readers do."""
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2
_SENSOR = (32803, 34892)
"""PhotometricInterpretation of what a camera's sensor saw: a colour filter array, linear raw."""
_REDUCED = 1


class Tag(IntEnum):
    """The tags that make pixels, and the tags that tell the kind of the file."""

    SUBFILE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    DESCRIPTION = 270
    STRIP_OFFSETS = 273
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_BYTES = 279
    MIN_SAMPLE = 280
    MAX_SAMPLE = 281
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_DIRECTORIES = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    S_MIN_SAMPLE = 340
    S_MAX_SAMPLE = 341
    XMP = 700
    GDAL_NODATA = 42113
    DNG_VERSION = 50706


@dataclass(frozen=True)
class Layout:
    """The facts about the samples in the tags. Every value is checked or set to its default."""

    size: tuple[int, int]
    bits: tuple[int, ...]
    """Of each sample of a pixel."""
    formats: tuple[int, ...]
    photometric: int
    extra: tuple[int, ...]
    """What the samples after the colours are: 0 unsaid, 1 alpha that colours are multiplied by,
    2 alpha."""
    planar: int
    compression: int
    predictor: int
    fill_order: int
    tile: tuple[int, int] | None

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return len(self.bits)

    @property
    def alpha(self) -> int | None:
        """Which kind of alpha follows the colours, if any. A fourth sample of RGB is alpha."""
        if self.extra:
            return self.extra[0] if self.extra[0] in (1, 2) else None
        return UNASSOCIATED_ALPHA if self.photometric == RGB and self.samples == 4 else None

    def describe(self) -> str:
        """The layout in words, for messages."""
        kinds = {SIGNED: "signed integer", FLOAT: "float"}
        bits = "/".join(map(str, dict.fromkeys(self.bits)))
        kind = "/".join(dict.fromkeys(kinds.get(one, "unsigned integer") for one in self.formats))
        count = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        return (
            f"{count} of {bits} bits ({kind}), PhotometricInterpretation {self.photometric}, "
            f"Compression {self.compression}"
        )


def read_layout(directory: Directory) -> Layout:
    """Read the tags of an image.

    Raises:
        BadImage: a tag is missing or makes no sense.
        UnsupportedImage: the file is camera raw, whose first image is a preview.
    """
    width, height = directory.integer(Tag.WIDTH), directory.integer(Tag.HEIGHT)
    if not width or not height or min(width, height) < 0:
        raise BadImage("the TIFF is broken: its tags name no size")
    compression = directory.integer(Tag.COMPRESSION) or UNCOMPRESSED
    photometric = directory.integer(Tag.PHOTOMETRIC)
    samples = directory.integer(Tag.SAMPLES)
    if samples is None:
        samples = 3 if compression == OLD_JPEG and photometric in (RGB, YCBCR) else 1
    if not 0 < samples <= MAX_SAMPLES:
        raise BadImage(f"the TIFF says that a pixel has {samples} samples")
    if photometric is None:
        photometric = _usual_photometric(compression, samples)
    if Tag.DNG_VERSION in directory.entries or photometric in _SENSOR or _is_preview(directory):
        raise UnsupportedImage("the image is camera raw (DNG, NEF, ARW or the like)")
    formats = _each(directory.numbers(Tag.SAMPLE_FORMAT) or (UNSIGNED,), samples)
    tile = directory.integer(Tag.TILE_WIDTH), directory.integer(Tag.TILE_HEIGHT)
    has_strips = Tag.STRIP_OFFSETS in directory.entries
    return Layout(
        (width, height),
        _each([int(bits) for bits in directory.numbers(Tag.BITS) or (1,)], samples),
        tuple(UNSIGNED if one == UNDEFINED else int(one) for one in formats),
        photometric,
        tuple(int(one) for one in directory.numbers(Tag.EXTRA_SAMPLES) or ()),
        directory.integer(Tag.PLANAR) or CONTIGUOUS,
        compression,
        (directory.integer(Tag.PREDICTOR) or 1) if compression in _WITH_PREDICTOR else 1,
        directory.integer(Tag.FILL_ORDER) or 1,
        (tile[0], tile[1]) if tile[0] and tile[1] and not has_strips else None,
    )


def _usual_photometric(compression: int, samples: int) -> int:
    """The value for a file without the tag, by the rule of libtiff."""
    if compression in FAX:
        return WHITE_IS_ZERO
    if compression == OLD_JPEG and samples == 3:
        return YCBCR
    return RGB if samples >= 3 else BLACK_IS_ZERO


def _is_preview(directory: Directory) -> bool:
    """Whether the first image is a small copy and the real one lies in a directory below it."""
    subfile = directory.integer(Tag.SUBFILE) or 0
    return bool(subfile & _REDUCED) and Tag.SUB_DIRECTORIES in directory.entries


def _each(values: Sequence[T], samples: int) -> tuple[T, ...]:
    """A value for each sample, where the file has one for all, or too many."""
    if len(values) == 1:
        return (values[0],) * samples
    if len(values) < samples:
        raise BadImage(f"the TIFF is broken: it describes {len(values)} of {samples} samples")
    return tuple(values[:samples])
