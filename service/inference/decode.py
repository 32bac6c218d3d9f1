"""Bytes to pixels: a file of any accepted format becomes an upright RGB image, or a clear error."""

from collections.abc import Callable
from typing import TypeVar

from PIL import Image

from service.errors import BadImage, ClientError, OutOfResources, UnsupportedImage
from service.inference.image.budget import DECODING
from service.inference.image.clock import Clock, ClockedFile
from service.inference.image.decoded import DecodedImage
from service.inference.image.formats import avif, bmp, gif, jpeg, png, webp
from service.inference.image.formats.tiff import tiff
from service.inference.image.geometry import LeastSize, Size
from service.inference.image.heap import keep_freed_memory
from service.inference.image.known_formats import ACCEPTED, identify, rare_format
from service.inference.image.limits import MAX_DECODE_MS, MAX_PIXELS, Limits
from service.inference.image.orientation import is_backwards, is_mirrored, is_transposed
from service.inference.image.rows import Picture, upright_rgb
from service.inference.image.views import Pixels

FORMATS = ACCEPTED
T = TypeVar("T")

_OPEN: dict[str, Callable[[bytes, Limits], tuple[Picture, int]]] = {
    "PNG": png.open_picture,
    "WEBP": webp.open_picture,
    "GIF": gif.open_picture,
    "BMP": bmp.open_picture,
    "TIFF": tiff.open_picture,
    "AVIF": avif.open_picture,
}

# Pillow's own limit only warns up to twice its value, and `warnings` filters are not thread-safe;
# `check_size` reads the same header and refuses.
Image.MAX_IMAGE_PIXELS = None

keep_freed_memory()


def decode(data: bytes, max_pixels: int = MAX_PIXELS, max_decode_ms: int = MAX_DECODE_MS) -> Pixels:
    """Decode an image file: uint8[H, W, 3], RGB, upright, every pixel of it.

    The array is a copy of the image that `decode_image` returns. See there for the rules and
    errors.
    """
    limits = Limits(max_pixels, Clock(max_decode_ms))
    return _guarded(data, limits, lambda file, name: _decoded(file, name, limits, None).array())


def decode_image(
    data: bytes,
    max_pixels: int = MAX_PIXELS,
    max_decode_ms: int = MAX_DECODE_MS,
    least_size: LeastSize | None = None,
) -> DecodedImage:
    """Decode an image file to RGB, upright.

    The first frame of an animation; EXIF orientation applied; grey, palette, CMYK and deeper
    samples converted; transparency laid over white. The range of deep samples is read from the tags
    of the file. A file without a range is refused. Metadata that does not change pixels is not
    read, so broken metadata is not an error.

    `least_size` gives the smallest allowed size of the result. With it, a JPEG is scaled down while
    it is decoded. Other formats are decoded in full, because their decoders would gain nothing.

    The size is read from the header and checked before any pixel is allocated;
    `service.inference.image.limits` limits the other costs of a file.

    Raises:
        BadImage: the bytes are no image, or a broken one.
        UnsupportedImage: a format outside `FORMATS`, or a kind of it that is not decoded.
        TooLarge: more than `max_pixels` pixels, or more than `max_decode_ms` of processor time.
        OutOfResources: there is not enough memory for the image, which is not its fault.
    """
    limits = Limits(max_pixels, Clock(max_decode_ms))
    return _guarded(data, limits, lambda file, name: _decoded(file, name, limits, least_size))


def _guarded(data: bytes, limits: Limits, work: Callable[[bytes, str | None], T]) -> T:
    """Run `work` on a file and its format; turn any failure into an error that names the cause."""
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    data = bytes(data)  # copies nothing, unless it is another kind of buffer
    name = identify(data)
    try:
        with DECODING.turn():
            return work(data, name)
    except ClientError:
        raise
    except MemoryError as error:
        raise _out_of_memory(name, limits) from error
    except Exception as error:  # hostile bytes make a parser raise anything
        if not limits.has_memory():  # most decoders say that the file is broken
            raise _out_of_memory(name, limits) from error
        raise BadImage(f"the {name} cannot be decoded: {error}") from error


def _decoded(
    data: bytes, name: str | None, limits: Limits, least_size: LeastSize | None
) -> DecodedImage:
    if name == "JPEG":
        picture, orientation = jpeg.open_picture(data, limits, least_size)
        return _upright(picture, orientation, limits, picture.full, picture.scale)
    if name not in _OPEN:
        raise _refusal(data, name, limits)
    picture, orientation = _OPEN[name](data, limits)
    return _upright(picture, orientation, limits, picture.size)


def _upright(
    picture: Picture, orientation: int, limits: Limits, full: tuple[int, int], scale: int = 1
) -> DecodedImage:
    width, height = full
    backwards, mirrored = is_backwards(orientation), is_mirrored(orientation)
    if is_transposed(orientation):
        width, height = height, width
        backwards, mirrored = mirrored, backwards
    image = upright_rgb(picture, orientation, limits.clock)
    return DecodedImage(image, Size(height, width), scale, mirrored, backwards)


def _out_of_memory(name: str | None, limits: Limits) -> OutOfResources:
    return OutOfResources(
        f"memory ran out while an image ({name}, {limits.pixels / 1e6:.1f} MP) was decoded; "
        "try again later, or give the process more memory"
    )


def _refusal(data: bytes, name: str | None, limits: Limits) -> BadImage | UnsupportedImage:
    accepted = f"accepted formats: {', '.join(ACCEPTED)}"
    if name is None:
        name = rare_format(ClockedFile([data], limits.clock))
    if name is None:
        return BadImage(f"the bytes are no image; {accepted}")
    return UnsupportedImage(f"the file is {name}; {accepted}")
