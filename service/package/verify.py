"""All checks of a package that need no images: `quincunx models verify`."""

from pathlib import Path

from service.errors import InferenceFailed, ModelPackageError
from service.inference.predictor import Predictor
from service.inference.tta.steps import check_default_mode
from service.package.card import compare as card
from service.package.package import MANIFEST, ModelPackage
from service.package.recorded.dependence import stale


def verify(folder: Path) -> ModelPackage:
    """Load a package, open each of its graphs on the CPU and run it in every mode.

    Raises:
        ModelPackageError: the package cannot be served, or it contradicts itself; the message says
            why.
    """
    package = ModelPackage.load(folder)
    check_statements(package)
    for precision in package.precisions:
        predictor = Predictor.from_package(folder, precision=precision, provider="cpu")
        check_default_mode(predictor.model)
        try:
            predictor.warm_up()
        except InferenceFailed as error:
            raise ModelPackageError(f"{predictor.session.path} does not run: {error}") from error
    return package


def check_statements(package: ModelPackage) -> None:
    """Raises ModelPackageError if the card or the metrics say something that does not hold."""
    if rows := stale(package.manifest):
        names = ", ".join(f"{row.precision} {row.mode}" for row in rows)
        raise ModelPackageError(
            f"metrics in {package.folder / MANIFEST} were measured with another graph or "
            f"calibration: {names}. quincunx evaluate PACKAGE DATA --record measures again"
        )
    if found := card.difference(package):
        raise ModelPackageError(
            f"{found}. quincunx models card {package.folder} writes the card again"
        )
