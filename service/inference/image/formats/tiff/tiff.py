"""TIFF: its first image. What the samples mean is read from the tags, never from the samples."""

from service.errors import BadImage, TooLarge, UnsupportedImage
from service.inference.image.formats import ifd
from service.inference.image.formats.tiff.file import PARTS, Changes, open_tiff
from service.inference.image.formats.tiff.layout import (
    BLACK_IS_ZERO,
    CMYK,
    CONTIGUOUS,
    JPEG,
    OLD_JPEG,
    RGB,
    UNSIGNED,
    WHITE_IS_ZERO,
    Layout,
    Tag,
    read_layout,
)
from service.inference.image.formats.tiff.levels import open_samples
from service.inference.image.levels import Grey16
from service.inference.image.limits import Limits, check_scans, check_size
from service.inference.image.orientation import of_directory, of_xmp
from service.inference.image.rows import Loaded, Opaque, Picture, steps

_SCAN = b"\xff\xda"


def open_picture(data: bytes, limits: Limits) -> tuple[Picture, int]:
    """Decode the first image of a TIFF, and read how it lies.

    Pillow decodes samples of 8 bits and fewer, and the usual ones of 16. `tiff_samples` makes the
    others, whose range must be known: signed, float, wide ones, and layouts that Pillow lacks.

    Raises:
        BadImage: the file is broken, or does not say the range of its samples.
        TooLarge: over a limit.
        UnsupportedImage: camera raw, or a layout that is not supported.
        Exception: Pillow's, for a broken file.
    """
    directory = ifd.read(data)
    if directory is None:
        raise BadImage("the TIFF is broken: it has no directory of tags")
    layout = read_layout(directory)
    check_size(layout.size, limits)
    _check_tiles(layout, limits)
    if layout.compression in (OLD_JPEG, JPEG):
        check_scans(layout.size, _most_scans(data, directory, limits), limits)
    orientation = of_directory(directory) or of_xmp(directory.text(Tag.XMP))
    if not pillow_decodes(layout):
        return open_samples(data, directory, layout, limits), orientation
    grey16 = layout.bits == (16,)
    photometric = BLACK_IS_ZERO if grey16 else layout.photometric
    changes: Changes = {Tag.PHOTOMETRIC: photometric, Tag.SAMPLE_FORMAT: None}
    try:
        image = open_tiff(data, directory, changes, limits)
    except SyntaxError as error:
        raise UnsupportedImage(
            f"the image is a TIFF of {layout.describe()}, which is not decoded"
        ) from error
    if grey16:
        return Grey16(image, inverted=layout.photometric == WHITE_IS_ZERO), orientation
    picture = Loaded(image)
    if image.mode == "RGBA" and not layout.extra and not _has_alpha(picture, limits):
        return Opaque(image), orientation
    return picture, orientation


def _has_alpha(picture: Loaded, limits: Limits) -> bool:
    """Whether a fourth sample, which no tag names, is more than 0 in any pixel."""
    for top, bottom in steps(picture.size):
        limits.clock.check()
        highest = picture.rows(top, bottom).getchannel("A").getextrema()[1]
        if highest:
            return True
    return False


def pillow_decodes(layout: Layout) -> bool:
    """Whether Pillow makes the right 8 bits of these samples, or all 16 of grey."""
    if set(layout.formats) != {UNSIGNED}:
        return False
    if max(layout.bits) <= 8:
        return True
    if set(layout.bits) != {16} or layout.planar != CONTIGUOUS or layout.fill_order != 1:
        return False
    known = {
        (WHITE_IS_ZERO, 1): ((),),
        (BLACK_IS_ZERO, 1): ((),),
        (RGB, 3): ((),),
        (RGB, 4): ((), (0,), (1,), (2,)),
        (CMYK, 4): ((),),
    }
    return layout.extra in known.get((layout.photometric, layout.samples), ())


def _check_tiles(layout: Layout, limits: Limits) -> None:
    """Refuse tiles larger than an image may be: each is unpacked whole."""
    width, height = layout.tile or (0, 0)
    if width * height > limits.max_pixels:
        raise TooLarge(
            f"the TIFF has tiles of {width}×{height} px; "
            f"the limit is {limits.max_pixels / 1e6:.0f} MP (QUINCUNX_MAX_PIXELS)"
        )


def _most_scans(data: bytes, directory: ifd.Directory, limits: Limits) -> int:
    """The number of scans of the JPEG strip or tile with the most scans."""
    most = 1
    for offsets, sizes in PARTS:
        parts = zip(
            directory.array(offsets).tolist(), directory.array(sizes).tolist(), strict=False
        )
        for at, size in set(parts):
            limits.clock.check()
            most = max(most, data.count(_SCAN, at, at + size))
    return most
