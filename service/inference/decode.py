"""Bytes to pixels: any image a person may send becomes uint8[H, W, 3] RGB, or a clear error."""

from collections.abc import Callable

from PIL import Image

from service.errors import BadImage, ClientError, OutOfResources, UnsupportedImage
from service.inference.image.budget import DECODING
from service.inference.image.clock import Clock, ClockedFile
from service.inference.image.formats import avif, bmp, gif, jpeg, png, webp
from service.inference.image.formats.tiff import tiff
from service.inference.image.known_formats import ACCEPTED, identify, rare_format
from service.inference.image.limits import MAX_DECODE_MS, MAX_PIXELS, Limits
from service.inference.image.rows import Picture, Pixels, upright_rgb

FORMATS = ACCEPTED

_OPEN: dict[str, Callable[[bytes, Limits], tuple[Picture, int]]] = {
    "JPEG": jpeg.open_picture,
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


def decode(data: bytes, max_pixels: int = MAX_PIXELS, max_decode_ms: int = MAX_DECODE_MS) -> Pixels:
    """Decode an image file: uint8[H, W, 3], RGB, upright.

    The first frame of an animation; EXIF orientation applied; grey, palette, CMYK and deeper
    samples converted; transparency laid over white. The range of deep samples is read from the
    file's own tags; a file that does not say it is refused. Metadata that makes no pixels is not
    read, however broken it is.

    The size is read from the header and checked before any pixel is allocated;
    `service.inference.image.limits` bounds what else a file may cost.

    Raises:
        BadImage: the bytes are no image, or a broken one.
        UnsupportedImage: a format outside `FORMATS`, or a kind of it that is not decoded.
        TooLarge: more than `max_pixels` pixels, or more than `max_decode_ms` of processor time.
        OutOfResources: there is not enough memory for the image, which is not its fault.
    """
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    data = bytes(data)  # which copies nothing, unless it is another kind of buffer
    limits = Limits(max_pixels, Clock(max_decode_ms))
    name = identify(data)
    try:
        if name not in ACCEPTED:
            raise _refusal(data, name, limits)
        with DECODING.turn():
            picture, orientation = _OPEN[name](data, limits)
            return upright_rgb(picture, orientation, limits.clock)
    except ClientError:
        raise
    except MemoryError as error:
        raise _out_of_memory(name, limits) from error
    except Exception as error:  # a parser over hostile bytes: whatever it raises, they are at fault
        if not limits.has_memory():  # most decoders say that the file is broken
            raise _out_of_memory(name, limits) from error
        raise BadImage(f"the {name} cannot be decoded: {error}") from error


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
