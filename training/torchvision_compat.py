"""Let ``import torchvision`` work beside a CPU build of torch.

torchvision's PyPI wheel is built for CUDA. With a CPU build of torch its C++ extension does not
load. Then two operators have no schema, and the import fails. A classifier never calls these
operators, so defining their schemas is enough. Import this module before torchvision or fastai.
"""

import importlib.machinery
import importlib.util

import torch

_library: torch.library.Library | None = None


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    folder = spec.submodule_search_locations[0]
    finder = importlib.machinery.FileFinder(
        folder,
        (importlib.machinery.ExtensionFileLoader, [*importlib.machinery.EXTENSION_SUFFIXES, ".so"]),
    )
    extension = finder.find_spec("_C")
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except OSError:
        return False
    return True


def prepare() -> None:
    """Define the missing schemas once, and only if the extension did not load."""
    global _library
    if _library is not None or _extension_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library.define(f"nms{boxes}")
    library.define(f"qnms{boxes}")
    _library = library  # kept, because the schemas vanish with this object


prepare()
