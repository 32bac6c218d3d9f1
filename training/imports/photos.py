"""Photos for the comparison of an import with its source."""

from pathlib import Path

from service.errors import ClientError, UsageError
from service.inference.decode import decode_image
from training.data.pixels import read_image

ENOUGH = 3


def photos_in(folder: Path) -> tuple[Path, ...]:
    """The first files in `folder` and its folders that decode as images, at most three.

    Raises:
        UsageError: no folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--photos {folder}: no such folder")
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if len(found) == ENOUGH:
            break
        if not path.is_file():
            continue
        try:
            decode_image(read_image(path))
        except (ClientError, OSError):
            continue
        found.append(path)
    if not found:
        raise UsageError(f"--photos {folder} has no image that can be decoded")
    return tuple(found)
