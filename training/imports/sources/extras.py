"""Libraries that an import needs and an installation may lack."""

from importlib import import_module
from types import ModuleType

from service.errors import UsageError

PREPARED = ("torchvision", "timm", "transformers")
"""These import torchvision, which needs help beside a CPU build of torch."""


def library(name: str, extra: str) -> ModuleType:
    """Import the library `name`.

    Raises:
        UsageError: it is not installed; the message has the command that installs it.
    """
    try:
        if name in PREPARED:
            import_module("training.torchvision_compat")
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, "torch", "torchvision"):
            raise
        raise UsageError(f"{name} is not installed: pip install 'quincunx[{extra}]'") from None
