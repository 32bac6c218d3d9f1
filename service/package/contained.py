"""Read files of a package's folder: regular files that lie inside it, up to a size."""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service.errors import ModelPackageError
from service.opening import NotRegular, open_regular


def read_bytes(folder: Path, name: str, most_bytes: int) -> bytes:
    """The content of the file `name` of `folder`.

    A symbolic link is followed if its target is inside the folder, as in a mounted ConfigMap.

    Raises:
        ModelPackageError: the file cannot be read, lies elsewhere, or has over `most_bytes` bytes.
    """
    with _opened(folder, name) as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ModelPackageError(f"{folder / name} is over {most_bytes} bytes")
    return data


def read_verified(folder: Path, name: str, size_bytes: int, sha256: str) -> bytes:
    """The content of the file `name` of `folder`, which has this size and this digest.

    Raises:
        ModelPackageError: see `read_bytes`; or the content has another size or digest.
    """
    path = folder / name
    with _opened(folder, name) as stream:
        found = os.fstat(stream.fileno()).st_size
        if found != size_bytes:
            raise ModelPackageError(
                f"{path} was altered: it has {found} bytes, the manifest says {size_bytes}"
            )
        data = stream.read(size_bytes + 1)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelPackageError(
            f"{path} was altered: its sha256 is {digest}, the manifest says {sha256}"
        )
    return data


@contextmanager
def _opened(folder: Path, name: str) -> Generator[BinaryIO]:
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise ModelPackageError(
                f"{path} is a link to {real}, outside of the package: copy the file into the folder"
            )
        # A link that was put there after its target was checked is not followed.
        with open_regular(real, follow=False) as stream:
            yield stream
    except NotRegular as error:
        raise ModelPackageError(f"{path} is not a regular file") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelPackageError(f"{path} cannot be read: {reason}") from error
    except RuntimeError as error:  # pathlib's error for a loop of links, before Python 3.13
        raise ModelPackageError(f"{path} cannot be read: {error}") from error
