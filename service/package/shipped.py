"""Where the shipped package lies, for commands that were given none."""

from pathlib import Path

from service.errors import UsageError
from service.package.package import MANIFEST

MODELS = Path(__file__).parents[2] / "models"
"""Beside the code: there in a checkout and in a bento, not in an installed wheel."""
SHIPPED = "imagenette-xresnet18"


def named_or_shipped(folder: Path | None) -> Path:
    """The package that was named; else the shipped one, which a checkout and a bento have.

    The current folder does not matter: the same command means the same model everywhere.

    Raises:
        UsageError: none was named, and this installation has no shipped package.
    """
    if folder is not None:
        return folder
    shipped = MODELS / SHIPPED
    if not (shipped / MANIFEST).is_file():
        raise UsageError(
            "name a model package with --model FOLDER: none is installed with quincunx"
        )
    return shipped
