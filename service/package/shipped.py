"""Where the shipped package lies, for commands that were given none."""

from pathlib import Path

from service.errors import UsageError
from service.package.package import MANIFEST

MODELS = Path(__file__).parents[2] / "models"
"""Beside the code: there in a checkout and in a bento, not in an installed wheel."""
SHIPPED = "imagenette-xresnet18"


def package_folder(named: Path) -> Path:
    """The folder of the package that was named: a folder, or a name in ``models/``.

    ``models/`` of the current folder comes first, then the one beside the code. Only a bare name is
    looked for there, and only if it is no folder itself. A name that is nowhere is returned as it
    is, and the error names it.
    """
    if named.exists() or len(named.parts) != 1 or named.name in ("", ".."):
        return named
    for root in (Path("models"), MODELS):
        if (root / named / MANIFEST).is_file():
            return root / named
    return named


def package_names(incomplete: str) -> list[str]:
    """The names that `package_folder` finds and that begin so, for the completion of a shell."""
    found = {
        manifest.parent.name
        for root in (Path("models"), MODELS)
        for manifest in root.glob(f"*/{MANIFEST}")
    }
    return sorted(name for name in found if name.startswith(incomplete))


def named_or_shipped(folder: Path | None) -> Path:
    """The package that was named; else the shipped one, which a checkout and a bento have.

    A name without a folder means a package in ``models/``: see `package_folder`.

    The current folder does not matter: the same command means the same model everywhere.

    Raises:
        UsageError: none was named, and this installation has no shipped package.
    """
    if folder is not None:
        return package_folder(folder)
    shipped = MODELS / SHIPPED
    if not (shipped / MANIFEST).is_file():
        raise UsageError(
            "name a model package with --model FOLDER: none is installed with quincunx"
        )
    return shipped
