"""The pixels of an image file, by the decoder that serves."""

from pathlib import Path

from service.errors import ClientError, DataError
from service.inference.decode import decode
from service.inference.image.views import Pixels


def pixels_of(path: Path) -> Pixels:
    """Decode a file with the code that serves, so that training and serving see equal pixels.

    Raises:
        DataError: the file cannot be read or decoded; the message names it.
    """
    try:
        return decode(path.read_bytes())
    except (ClientError, OSError) as error:
        raise DataError(f"{path}: {error}") from error
