"""Let ``import torchvision``, and so ``from fastai.vision.all import *``, work beside a CPU torch.

torchvision's PyPI wheel is built for CUDA. With a CPU build of torch its C++ extension does not
load. Then two operators have no schema, and the import fails. A classifier never calls these
operators, so defining their schemas is enough. A call of one of them is still an error.

`pyproject.toml` names `prepare` as an entry point of the group ``torch.backends``. torch calls
these entry points at the end of its own import, so no program has to import this module first.
Where the package is not installed, or TORCH_DEVICE_BACKEND_AUTOLOAD=0, import it before torchvision
or fastai. Builds that fit each other are left alone: nothing is loaded or defined.
"""

import importlib.machinery
import importlib.util
import re
from pathlib import Path
from typing import Any

_library: Any = None
"""The torch.library.Library with the schemas. They vanish with this object, so it is kept."""


def prepare() -> None:
    """Define the missing schemas once, and only if the extension cannot load.

    torch is imported here and not above: its own import calls this function while this module may
    still be on its way in.
    """
    global _library
    import torch

    if _library is not None or torch.version.cuda is not None:
        return
    folder = _torchvision_folder()
    if folder is None or not _is_built_for_cuda(folder) or _extension_loads(folder):
        return
    library = torch.library.Library("torchvision", "DEF")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library.define(f"nms{boxes}")
    library.define(f"qnms{boxes}")
    _library = library


def _torchvision_folder() -> Path | None:
    spec = importlib.util.find_spec("torchvision")
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else None


def _is_built_for_cuda(folder: Path) -> bool:
    """Whether torchvision's own version says so; it ends with ``+cu130``, for example."""
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^__version__ = '[^']*\+cu\d+'", text, re.MULTILINE) is not None


def _extension_loads(folder: Path) -> bool:
    import torch

    finder = importlib.machinery.FileFinder(
        str(folder),
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


prepare()
