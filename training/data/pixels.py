"""The pixels of an image file, by the decoder that serves."""

from pathlib import Path

from service.errors import ClientError, DataError
from service.inference.decode import decode_image
from service.inference.image.decoded import DecodedImage
from service.inference.image.geometry import LeastSize
from service.inference.image.views import Pixels
from service.scoring.files import blaming_the_machine, read_bytes


def read_image(path: Path) -> bytes:
    """The bytes of an image file. Its length is bounded, and a pipe or a device is not a file.

    Raises:
        OSError: the file cannot be read.
        TooLarge: it is longer than an image may be.
        OutOfResources: no file can be opened now.
    """
    with blaming_the_machine(str(path)):
        return read_bytes(str(path))


def pixels_of(path: Path, least_size: LeastSize | None = None) -> Pixels:
    """The pixels of a file, uint8[h, w, 3]: every pixel, or fewer where `least_size` allows it.

    Raises:
        DataError: the file cannot be read or decoded; the message names it.
    """
    return open_image(path, least_size).array()


def open_image(path: Path, least_size: LeastSize | None = None) -> DecodedImage:
    """Decode a file with the code that serves; scaled down, where `least_size` lets it.

    Raises:
        DataError: the file cannot be read or decoded; the message names it.
    """
    try:
        return decode_image(read_image(path), least_size=least_size)
    except (ClientError, OSError) as error:
        raise DataError(f"{path}: {error}") from error
