"""All checks of a package that need no images: `quincunx models verify`."""

from pathlib import Path

from service.errors import InferenceFailed, ModelPackageError
from service.inference.predictor import Predictor
from service.inference.tta.steps import check_default_mode
from service.package.package import ModelPackage


def verify(folder: Path) -> ModelPackage:
    """Load a package, open each of its graphs on the CPU and run it in every mode.

    Raises:
        ModelPackageError: the package cannot be served; the message says why.
    """
    package = ModelPackage.load(folder)
    for precision in package.precisions:
        predictor = Predictor.from_package(folder, precision=precision, provider="cpu")
        check_default_mode(predictor.model)
        try:
            predictor.warm_up()
        except InferenceFailed as error:
            raise ModelPackageError(f"{predictor.session.path} does not run: {error}") from error
    return package
