"""The pixels of an image file, by the decoder that serves."""

from pathlib import Path

from service.errors import ClientError, DataError
from service.inference.decode import decode_image
from service.inference.image.decoded import DecodedImage
from service.inference.image.geometry import LeastSize
from service.inference.image.views import Pixels


def pixels_of(path: Path) -> Pixels:
    """Every pixel of a file, uint8[H, W, 3], by the code that serves.

    Raises:
        DataError: the file cannot be read or decoded; the message names it.
    """
    return open_image(path).array()


def open_image(path: Path, least_size: LeastSize | None = None) -> DecodedImage:
    """Decode a file with the code that serves; scaled down, where `least_size` lets it.

    Raises:
        DataError: the file cannot be read or decoded; the message names it.
    """
    try:
        return decode_image(path.read_bytes(), least_size=least_size)
    except (ClientError, OSError) as error:
        raise DataError(f"{path}: {error}") from error
