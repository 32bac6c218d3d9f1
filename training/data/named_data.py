"""Data sets by name: fastai's archives, downloaded once and unpacked safely."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.errors import DataError

NAMES = {
    "imagenette": "IMAGENETTE_160",
    "imagenette-320": "IMAGENETTE_320",
    "imagenette-full": "IMAGENETTE",
    "imagewoof": "IMAGEWOOF_160",
    "imagewoof-320": "IMAGEWOOF_320",
    "imagewoof-full": "IMAGEWOOF",
}
"""Name to fastai's `URLs` entry. Only archives with train/<class>/* and val/<class>/*."""


def located(data: Path) -> Path:
    """`data` itself if it exists or is not a known name; else the data set of that name.

    Downloaded to fastai's folder (`~/.fastai`, or FASTAI_HOME) the first time.

    Raises:
        DataError: it cannot be downloaded or unpacked.
    """
    if data.exists() or str(data) not in NAMES:
        return data
    import training.torchvision_compat  # noqa: F401  (before fastai)

    # isort: split
    from fastai.data.external import URLs, untar_data

    url: Any = getattr(URLs, NAMES[str(data)])
    try:
        with data_only():
            return Path(untar_data(url))
    except Exception as error:  # urllib's, fastdownload's (a plain Exception) and tarfile's
        raise DataError(
            f"no folder {data}, and the data set of that name cannot be downloaded from {url}: "
            f"{error}; offline, name a folder or a table instead"
        ) from error


@contextmanager
def data_only() -> Iterator[None]:
    """Unpack archives with Python's `data` filter (PEP 706) inside this context.

    An archive then holds files and folders under its own root: no absolute path, no way out
    through `..` or a link, no device, no set-user-id bit.
    """
    kind: Any = tarfile.TarFile
    before = kind.__dict__.get("extraction_filter")
    kind.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        kind.extraction_filter = before
