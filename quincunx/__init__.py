"""Image classification with test-time augmentation (TTA): five-crop at about the price of one crop.

    from pathlib import Path
    from quincunx import Predictor

    predictor = Predictor.from_package("models/imagenette-xresnet18")
    prediction = predictor.classify([Path("photo.jpg").read_bytes()], tta="five_crop")[0]
    print(prediction.name, prediction.probability)

What stands here is public and stays; the modules behind it may move. Names are imported when they
are first used. Only `export_learner` and `export_module` need torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service import errors
    from service.client.async_client import AsyncClient as AsyncClient
    from service.client.client import Client as Client
    from service.inference.predictor import Prediction as Prediction
    from service.inference.predictor import Predictor as Predictor
    from service.package.package import ModelPackage as ModelPackage
    from service.scoring.api import score as score
    from training.imports.python_api import export_learner as export_learner
    from training.imports.python_api import export_module as export_module

    __version__: str

_HOMES = {
    "AsyncClient": "service.client.async_client",
    "Client": "service.client.client",
    "ModelPackage": "service.package.package",
    "Prediction": "service.inference.predictor",
    "Predictor": "service.inference.predictor",
    "score": "service.scoring.api",
}
# Not in __all__: `from quincunx import *` must not load torch.
_WITH_TORCH = {
    "export_learner": "training.imports.python_api",
    "export_module": "training.imports.python_api",
}

__all__ = [
    "AsyncClient",
    "Client",
    "ModelPackage",
    "Prediction",
    "Predictor",
    "__version__",
    "errors",
    "score",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        return import_module("service.version").own_version()
    if name == "errors":
        return import_module("service.errors")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _WITH_TORCH:
        try:
            return getattr(import_module(_WITH_TORCH[name]), name)
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "torchvision", "fastai"):
                raise
            text = f"quincunx.{name} needs {error.name}: pip install 'quincunx[train]'"
            raise ModuleNotFoundError(text, name=error.name) from None
    raise AttributeError(f"module 'quincunx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_WITH_TORCH])
