"""Change how a package resizes photos. A copy replaces the package after its calibration."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import UsageError
from service.package.manifest import SCHEMA_VERSION, Fit, Manifest
from service.package.package import ModelPackage
from training.export.change import copy_package, write_change
from training.export.writer import replacing


@contextmanager
def with_fit(
    folder: Path, fit: Fit | None, log: Callable[[str], None] = print, *, copied: bool = False
) -> Iterator[Path]:
    """A folder whose package has this `input.fit`, to calibrate.

    None, or the fit that the package has: `folder` itself. Otherwise a copy of it, which replaces
    `folder` at the end, so that no reader finds the new fit with the old calibration. `copied`:
    nobody reads `folder` yet, so it is changed in place.

    Metrics that were measured with the other fit are dropped, and `log` says which.

    Raises:
        UsageError: another command changed the package meanwhile.
    """
    package = ModelPackage.load(folder)
    if fit is None or fit == package.manifest.input.fit:
        yield folder
    elif copied:
        _write(folder, fit, log)
        yield folder
    else:
        folder = folder.resolve()
        with replacing(folder) as new:
            copy_package(folder, new)
            _write(new, fit, log)
            yield new
            if ModelPackage.load(folder).manifest_sha256 != package.manifest_sha256:
                raise UsageError(f"{folder} was changed by another command meanwhile: run it again")


def _write(folder: Path, fit: Fit, log: Callable[[str], None]) -> None:
    package = ModelPackage.load(folder)
    fields = package.manifest.model_dump()
    log(f"input.fit is {fit} (before: {package.manifest.input.fit})")
    fields["input"]["fit"] = fit
    fields["schema_version"] = SCHEMA_VERSION
    write_change(package, Manifest.model_validate(fields), log)
