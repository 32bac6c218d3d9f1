"""Find the package that a user named: a folder or a name in ``models/``. Without a name it is the
shipped package."""

from collections.abc import Iterator
from pathlib import Path

from service.console.nearest import did_you_mean
from service.errors import ModelPackageError, UsageError
from service.package import contained, manifest_file
from service.package.package import MANIFEST, find

MODELS = Path(__file__).parents[2] / "models"
"""The folder beside the code. A checkout and a bento have it; an installed wheel does not."""
SHIPPED = "imagenette-xresnet18"


def package_folder(named: Path | str) -> Path:
    """The folder of a package: a folder, its name in ``models/``, or ``NAME@VERSION``.

    A path that exists is returned as it is. Only a bare name is looked up in ``models/``: first in
    the current folder, then beside the code. ``NAME@VERSION`` are the name and the version in the
    manifest.

    Raises:
        ModelPackageError: there is no such package, or two of them.
    """
    named = Path(named)
    if _exists(named):
        return named
    if (found := _in_models(named)) is not None:
        return found
    raise ModelPackageError(_nowhere(named))


def package_or_run(named: Path) -> Path:
    """Like `package_folder`, but the folder may also be that of a run.

    Reading it says what is missing.
    """
    return named if _exists(named) else _in_models(named) or named


def named_or_shipped(folder: Path | None) -> Path:
    """The named package (see `package_folder`), or the shipped one if `None`.

    A checkout and a bento have the shipped package. The current folder does not matter: the same
    command means the same model everywhere.

    Raises:
        ModelPackageError: there is no package of that name.
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


def complete_package(incomplete: str) -> list[str]:
    """Completions of a package for a shell: names in ``models/``, and folders."""
    found = {folder.name for folder in _packages() if folder.name.startswith(incomplete)}
    parent, _, start = incomplete.rpartition("/")
    folder = Path(parent or ("/" if incomplete.startswith("/") else "."))
    try:
        folders = [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        folders = []
    prefix = incomplete[: len(incomplete) - len(start)]
    found |= {
        f"{prefix}{path.name}/"
        for path in folders
        if path.name.startswith(start) and path.name.startswith(".") == start.startswith(".")
    }
    return sorted(found)


def _exists(path: Path) -> bool:
    """Whether the path exists. True if that cannot be checked: reading it then gives the error."""
    try:
        return path.exists()
    except OSError:
        return True


def model_folders() -> list[Path]:
    """The folders in which a bare name is looked up: ``models/`` here, then beside the code."""
    here = Path("models")
    found = [root for root in (here, MODELS) if _exists(root)]
    return found[:1] if len(found) == 2 and here.resolve() == MODELS.resolve() else found


def _packages() -> Iterator[Path]:
    """All packages in both ``models/``, each folder once."""
    seen: set[Path] = set()
    for root in model_folders():
        for folder in find(root):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def _in_models(named: Path) -> Path | None:
    """The package that a bare name means, if there is one.

    Raises:
        ModelPackageError: two packages have this name and version.
    """
    if len(named.parts) != 1 or named.name in ("", ".."):
        return None
    for root in (Path("models"), MODELS):
        if _exists(root / named / MANIFEST):
            return root / named
    if "@" not in named.name:
        return None
    found = [folder for folder in _packages() if _tag(folder) == named.name]
    if len(found) > 1:
        raise ModelPackageError(
            f"{named} is the name of several packages: {', '.join(map(str, found))}; name a folder"
        )
    return found[0] if found else None


def _tag(folder: Path) -> str | None:
    """``NAME@VERSION``, as the manifest says; None for a manifest that cannot be read."""
    try:
        data = contained.read_bytes(folder, MANIFEST, manifest_file.MAX_MANIFEST_BYTES)
        manifest = manifest_file.parse(data, str(folder / MANIFEST))
    except ModelPackageError:
        return None
    return f"{manifest.name}@{manifest.version}"


def _nowhere(named: Path) -> str:
    message = f"no model package in {named}: no such folder"
    if len(named.parts) == 1:
        known = [folder.name for folder in _packages()]
        if "@" in named.name:
            known = [tag for tag in map(_tag, _packages()) if tag]
        message += ", and no package of this name in models/"
        listed = f"there are: {', '.join(known[:10])}" if known else ""
        return "; ".join(filter(None, [message, did_you_mean(named.name, known) or listed]))
    beside = {str(path): path.name for path in find(named.parent)}
    hint = did_you_mean(named.name, beside.values())
    return f"{message}; {hint}" if hint else message
