"""Where imported models come from. Each module reads one kind of source."""

from training.imports.given import Given
from training.imports.spec import ImportSpec
from training.surgery import Converted

__all__ = ["open_source"]


def open_source(source: str, given: Given) -> tuple[Converted, ImportSpec]:
    """Read the model that `source` names, and convert its graph.

    Raises:
        UsageError: an unknown source, or something that the source does not say and `given`
            neither.
        ImportRefused: the model cannot become a package.
    """
    from training.imports.sources import onnx_file

    return onnx_file.open_source(source, given)
