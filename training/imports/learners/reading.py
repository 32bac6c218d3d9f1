"""A fastai Learner of a vision DataBlock, as a module and what its DataLoaders say."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from fastai.data.transforms import IntToFloatTensor, MultiCategorize, Normalize
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat
from numpy.typing import NDArray
from torch import nn

from service.errors import ImportRefused
from service.package.manifest import TaskName
from training.imports.given import NORMALIZATIONS
from training.imports.learners.preprocessing import own, preprocessing
from training.imports.modules.source import ModuleSource
from training.surgery.wanted import Activation, Triple


def read(learn: Learner, name: str = "") -> ModuleSource:
    """What a Learner says of its model.

    Raises:
        ImportRefused: no classifier of RGB images, or labels of several targets.
    """
    name = name or f"fastai:{type(learn.model).__name__}"
    dls: Any = learn.dls
    model: Any = learn.model
    labels = _labels(dls, name)
    mean, std, stated = _statistics(dls)
    found = preprocessing(dls)
    return ModuleSource(
        name=name,
        module=model,
        mean=mean,
        std=std,
        crop_px=found.crop_px,
        resize_px=found.resize_px,
        interpolation=found.interpolation,
        fit=found.fit,
        labels=labels,
        activation=_activation(learn.loss_func),
        task=_task(dls),
        statistics_from=stated,
        architecture=_architecture(learn),
        facts={"fastai": version("fastai")},
        notes=found.notes,
        own=lambda photo: own(dls, photo),
    )


def _labels(dls: Any, name: str) -> list[object]:
    vocab = getattr(dls, "vocab", None)
    if vocab is None:
        raise ImportRefused(
            f"{name} has no vocabulary: only classifiers can be imported (CategoryBlock or "
            "MultiCategoryBlock)"
        )
    entries = list(vocab)
    if any(isinstance(entry, Sequence) and not isinstance(entry, str) for entry in entries):
        raise ImportRefused(f"{name} has {len(entries)} targets; a classifier has one")
    return [str(entry) for entry in entries]


def _statistics(dls: Any) -> tuple[Triple, Triple, str]:
    """Mean and std, in units of 0..1, of all that the validation transforms divide and subtract.

    A network gets (pixel - mean) / std, where pixels are 0 to 255. Several steps are one such step.
    """
    mean, std, kinds = np.zeros(3), np.ones(3), set[type]()
    for step in dls.valid.after_batch.fs:
        if isinstance(step, IntToFloatTensor):
            step_: Any = step  # fastai stores its arguments by itself
            std = std * float(step_.div)
        elif isinstance(step, Normalize):
            shift, scale = _channels(step.mean), _channels(step.std)
            mean, std = mean + std * shift, std * scale
        else:
            continue
        kinds.add(type(step))
    if Normalize not in kinds and np.array_equal(std, np.full(3, 255.0)):
        return *NORMALIZATIONS["0..1"], "none in the Learner"
    return _triple(mean / 255), _triple(std / 255), "the Learner's Normalize"


def _channels(value: Any) -> NDArray[np.float64]:
    """A number for each of three channels."""
    numbers = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, np.float64)
    if numbers.size not in (1, 3):
        raise ImportRefused(f"Normalize has {numbers.size} channels; images have 3")
    return np.broadcast_to(numbers.ravel(), 3)


def _triple(values: NDArray[np.float64]) -> Triple:
    """Without the digits that float32 does not hold."""
    r, g, b = (float(f"{value:.7g}") for value in values)
    return r, g, b


def _task(dls: Any) -> TaskName | None:
    """None: multi_label only if the model ends in a sigmoid."""
    steps = [step for part in dls.train_ds.tls for step in part.tfms.fs]
    return "multi_label" if any(isinstance(step, MultiCategorize) for step in steps) else None


def _activation(loss: Any) -> Activation | None:
    """`none` where the loss takes logits; None, to be found, where it is unknown."""
    own = getattr(loss, "func", loss)
    logits = (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)
    name = type(loss).__name__
    if isinstance(own, logits) or name.startswith(("CrossEntropy", "LabelSmoothing", "FocalLoss")):
        return "none"
    return "none" if isinstance(loss, BCEWithLogitsLossFlat) else None


def _architecture(learn: Learner) -> str:
    arch = getattr(learn, "arch", None)
    return str(getattr(arch, "__name__", arch) or type(learn.model).__name__)
