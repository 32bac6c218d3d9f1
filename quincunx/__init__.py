"""Image classification with test-time augmentation (TTA): five-crop at about the price of one crop.

    from pathlib import Path
    from quincunx import Predictor

    predictor = Predictor.from_package("models/imagenette-xresnet18")
    prediction = predictor.classify([Path("photo.jpg").read_bytes()], tta="five_crop")[0]
    print(prediction.name, prediction.probability)

What stands here is public and stays; the modules behind it may move. Names are imported when they
are first used, and none of them needs torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service import errors
    from service.inference.predictor import Prediction as Prediction
    from service.inference.predictor import Predictor as Predictor
    from service.package.package import ModelPackage as ModelPackage
    from service.scoring.api import score as score

    __version__: str

_HOMES = {
    "ModelPackage": "service.package.package",
    "Prediction": "service.inference.predictor",
    "Predictor": "service.inference.predictor",
    "score": "service.scoring.api",
}

__all__ = ["ModelPackage", "Prediction", "Predictor", "__version__", "errors", "score"]


def __getattr__(name: str) -> Any:
    from importlib import import_module
    from importlib.metadata import version

    if name == "__version__":
        return version("quincunx")
    if name == "errors":
        return import_module("service.errors")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'quincunx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
