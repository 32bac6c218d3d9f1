"""`--recipe auto`, the default: a recipe that fits the number of images and the device."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from service.errors import UsageError
from service.package.package import MANIFEST, ModelPackage
from service.package.shipped import MODELS, SHIPPED
from training import recipe as recipes
from training.data.dataset import split
from training.network import architecture
from training.run import checkpoint

FEW_IMAGES = 2000
"""With fewer images, weights of another package are the better start."""
FROM_WEIGHTS, FROM_SCRATCH = "few-photos", "few-photos-scratch"
MANY_ON_GPU, MANY_ON_CPU, MANY_FROM_WEIGHTS = "gpu", "small-cpu", "fine-tune"
OF_XRESNETS = ("name", "act", "self_attention", "widen")


@dataclass(frozen=True)
class Choice:
    """A recipe, the package or run to start from if there is one, and the reason."""

    recipe: str
    init: Path | None
    why: str
    overrides: tuple[str, ...] = ()
    """Values that follow from the weights."""
    resumed: bool = False
    """Whether a run made the choice, which it cannot change any more."""

    def line(self) -> str:
        """The choice in one line, and how to choose otherwise, if it is a new one."""
        start = f"from the weights of {self.init.name}" if self.init else "from scratch"
        scratch = f", or --recipe {FROM_SCRATCH}" if self.recipe == FROM_WEIGHTS else ""
        if self.resumed:
            return f"recipe {self.recipe}, {start}: {self.why}"
        return (
            f"recipe {self.recipe}, {start}: {self.why}. To choose another: --recipe NAME (see "
            f"quincunx recipes){scratch}"
        )


def shipped() -> Path | None:
    """The package that ships with a checkout; None if it is not installed."""
    found = MODELS / SHIPPED
    return found if (found / MANIFEST).is_file() else None


def training_images(data: Path, overrides: Sequence[str]) -> int:
    """How many images of `data` are for training, those for calibration among them.

    Raises:
        DataError: the data cannot be trained on.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training itself warns of imbalance
        return len(split(data, recipes.load(FROM_SCRATCH, list(overrides))))


def choose(images: int, init: Path | None, *, gpu: bool) -> Choice:
    """The recipe for this number of training images, and the weights to start from.

    `init` are weights that the user named.
    """
    if init:
        name = FROM_WEIGHTS if images < FEW_IMAGES else MANY_FROM_WEIGHTS
        return Choice(name, init, f"{images} training images, and --init", architecture_of(init))
    if images < FEW_IMAGES:
        found = shipped()
        why = f"{images} training images are few (fewer than {FEW_IMAGES:,})"
        if found:
            return Choice(FROM_WEIGHTS, found, why)
        return Choice(FROM_SCRATCH, None, f"{why}, and no package is installed to start from")
    device = "a GPU is there" if gpu else "there is no GPU"
    return Choice(MANY_ON_GPU if gpu else MANY_ON_CPU, None, f"{images} training images, {device}")


def gpu_is_there() -> bool:
    return torch.cuda.is_available()


def architecture_of(folder: Path) -> tuple[str, ...]:
    """The architecture of an xresnet's package or run, as ``architecture.KEY=VALUE``.

    Raises:
        UsageError: a package of another network, such as an imported one.
    """
    if (folder / checkpoint.STATE).exists():
        known: dict[str, Any] = checkpoint.load(folder).facts["recipe"]["architecture"]
    else:
        known = ModelPackage.load(folder).manifest.architecture
    name = known.get("name", "")
    if ":" not in name and name not in architecture.names():
        raise UsageError(
            f"--init {folder}: its network ({name or 'without a name'}) is not an xresnet, so no "
            "training can start from it. --backbone fine-tunes a network of timm or torchvision"
        )
    return tuple(
        f"architecture.{key}={json.dumps(known[key])}" for key in OF_XRESNETS if key in known
    )
