"""Where imported models come from. Each module reads one kind of source."""

from importlib import import_module
from pathlib import Path

from service.console.nearest import with_hint, with_path_hint
from service.errors import UsageError
from training.imports.given import Given
from training.imports.spec import ImportSpec
from training.surgery import Converted

__all__ = ["open_source"]

PREFIXES = {
    "timm": "timm_model",
    "torchvision": "torchvision_model",
    "hf": "transformers_model",
    "python": "python_function",
}
PICKLES = (".pkl", ".pickle")
SOURCES = (
    "FILE.onnx, timm:NAME, torchvision:NAME, hf:FOLDER_OR_NAME, python:MODULE:FUNCTION or "
    "learner.pkl"
)


def open_source(source: str, given: Given) -> tuple[Converted, ImportSpec]:
    """Read the model that `source` names, and convert its graph.

    Raises:
        UsageError: an unknown source, or something that the source does not say and `given`
            neither.
        ImportRefused: the model cannot become a package.
    """
    prefix, colon, name = source.partition(":")
    if colon and prefix in PREFIXES:
        if not name:
            raise UsageError(f"{source}: a name is missing; a source is {SOURCES}")
        return _of_module(PREFIXES[prefix], name, given)
    if Path(source).suffix in PICKLES:
        return _of_module("learner_pickle", source, given)
    if given.weights is not None:
        raise UsageError("--weights goes with timm:NAME and torchvision:NAME")
    if Path(source).suffix != ".onnx" and not Path(source).is_file():
        message = f"{source}: no such source; a source is {SOURCES}"
        if colon:
            raise UsageError(with_hint(message, prefix, PREFIXES))
        raise UsageError(with_path_hint(message, Path(source)))
    from training.imports.sources import onnx_file

    return onnx_file.open_source(source, given)


def _of_module(reader: str, name: str, given: Given) -> tuple[Converted, ImportSpec]:
    """Convert the torch module that the module `reader` of this folder reads."""
    from training.imports.modules.opening import open_module

    return open_module(import_module(f"{__name__}.{reader}").read(name, given), given)
