"""A training run as data: every value has a name and a type, and can be overridden.

A recipe is a list of stages; a stage is one fit with one learning-rate schedule. The recipes that
ship are the modules of ``training/recipes``, one file each.
"""

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.console.nearest import did_you_mean
from service.errors import UsageError
from service.package.manifest import Decode, Fit, InputSize, Interpolation
from training.recipe_checks import check
from training.recipe_overrides import override_value, said

Schedule = Literal["one_cycle", "flat_cos", "cosine", "fine_tune"]
Optimizer = Literal["adam", "adamw", "ranger", "sgd"]
Mixer = Literal["none", "mixup", "cutmix", "resizemix"]
Augment = Literal["crop", "presize"]
Normalization = Literal["imagenet", "dataset", "init", "none"]

OLD: dict[str, Any] = {"decode": "exact", "calibration_folds": 0, "split_by": "order"}
"""What a recipe did that was written before these fields existed."""
# A value of another type is an error and is never converted. An unknown key is an error too.
CHECKED = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, config=CHECKED)
class Stage:
    """One fit: `epochs` epochs at `size_px`, under one schedule."""

    epochs: int
    size_px: int
    schedule: Schedule = "one_cycle"
    lr: float = 3e-3
    grow_at: tuple[tuple[int, int], ...] = ()
    """Progressive resizing inside the fit: (epoch, size_px) pairs. The schedule goes on."""
    grow_at_share: tuple[tuple[float, int], ...] = ()
    """The same by the share of the epochs that is done: (share, size_px) pairs, such as
    (0.75, 192). It fits any number of epochs. A stage has `grow_at` or `grow_at_share`."""
    warm_up: float = 0.05
    """`cosine` only: the share of the fit in which the learning rate grows linearly from 0."""
    frozen_epochs: int = 1
    """`fine_tune` only: epochs with a frozen body, before the `epochs` that train all layers."""

    def size_at(self, epoch: float) -> int:
        """The side in pixels of the crops of epoch `epoch` (counted from 0)."""
        size_px = self.size_px
        by_share = [(share * self.epochs, grown_px) for share, grown_px in self.grow_at_share]
        for start, grown_px in [*self.grow_at, *by_share]:
            if epoch >= start - 1e-6:
                size_px = grown_px
        return size_px

    def sizes(self) -> list[int]:
        """Every size that the stage names."""
        return [
            self.size_px,
            *(px for _, px in self.grow_at),
            *(px for _, px in self.grow_at_share),
        ]


@dataclass(frozen=True, config=CHECKED)
class Architecture:
    """A member of fastai's xresnet family, or a pretrained network (`train --backbone`)."""

    name: str = "xresnet50"
    """With a colon it is a backbone: ``timm:NAME`` or ``torchvision:NAME``. The other values are of
    the xresnet family only."""
    act: Literal["relu", "mish"] = "relu"
    self_attention: bool = False
    widen: float = 1.0

    @property
    def is_backbone(self) -> bool:
        return ":" in self.name


@dataclass(frozen=True, config=CHECKED)
class Mix:
    """One mixer of several, and the share of the batches that it mixes."""

    mixer: Literal["mixup", "cutmix", "resizemix"]
    share: float
    alpha: float = 0.4
    """Of the Beta(alpha, alpha) distribution that mixup and CutMix draw from."""


@dataclass(frozen=True, config=CHECKED)
class Ema:
    """An exponential moving average (EMA) of the weights, updated after every step.

    The averaged weights are validated, saved and exported. The raw weights go on training.
    """

    decay: float = 0.0
    """Share of the average that a step keeps, such as 0.9995. 0: no average."""
    warm_up: int = 10
    """Step t uses the smaller of `decay` and (1 + t) / (warm_up + t), so that the average forgets
    the untrained weights soon. 0: always `decay`."""


@dataclass(frozen=True, config=CHECKED)
class Distillation:
    """What a teacher (`quincunx train --teacher`) adds to the loss; unused without a teacher."""

    weight: float = 1.0
    """Factor of the Kullback-Leibler divergence from the teacher, which is multiplied by the
    square of the temperature as well (Hinton et al., arXiv:1503.02531)."""
    temperature: float = 2.0
    """Divides the logits of teacher and student before softmax."""


@dataclass(frozen=True, config=CHECKED)
class Recipe:
    """A whole training run."""

    summary: str
    stages: tuple[Stage, ...]
    architecture: Architecture = field(default_factory=Architecture)
    crop_px: int = 224
    """The side of a crop when the model is served."""
    resize_px: int = 256
    """The side an image is resized to before crops are cut: the shorter side, or both (`fit`)."""
    fit: Fit = "shorter_side"
    """`shorter_side`: images keep their shape, in training and when the model is served. `squash`:
    both sides are resized alike to a square, so they lose their proportions but no side."""
    interpolation: Interpolation = "bilinear"
    """How the package resizes images when it is served. Training always resizes bilinearly."""
    decode: Decode = "scaled"
    """How files become pixels, in training and in the package: `scaled` lets the decoder scale down
    a JPEG that is much larger than needed, `exact` decodes every pixel."""
    decode_factor: int = 3
    """`scaled` only: how many times larger than needed a decoded image stays at least, 1 to 8."""
    batch_images: int = 64
    """Images in one step of the optimizer, summed over all processes that train together."""
    least_steps: int = 20
    """Steps that an epoch should have. With little data, batches are halved down to 8 images to
    reach it. 0: never halve. A `batch_images` that is given with --set is always kept."""
    least_updates: int = 0
    """Steps that the whole run should have. With little data, the epochs of all stages grow to
    reach it. 0: never. Epochs that are given with --set are always kept."""
    batch_sizes_px: tuple[int, ...] = ()
    """Side lengths of training batches. Each batch gets one at random, among those that are not
    larger than the stage's crops. Empty: always the side of the stage's crops."""
    optimizer: Optimizer = "adam"
    weight_decay: float = 1e-2
    decay_vectors: bool = False
    """Whether weight decay works on vectors too: biases, and scales of batch normalization."""
    ema: Ema = field(default_factory=Ema)
    normalization: Normalization = "imagenet"
    """`dataset`: computed over all training images. `init`: that of the initial weights."""
    augment: Augment = "presize"
    presize_px: int = 460
    """`presize` only: the side of the item-level crop that batch transforms then work on."""
    min_scale: float = 0.75
    """The smallest share of the image's area that a random crop may have."""
    mixer: Mixer = "none"
    """One mixer for all batches; for several, see `mixes`."""
    mixer_alpha: float = 0.4
    mixes: tuple[Mix, ...] = ()
    """Several mixers: each batch draws one of them by its share. The remaining batches are not
    mixed. A recipe has `mixer` or `mixes`."""
    label_smoothing: float = 0.0
    distillation: Distillation = field(default_factory=Distillation)
    statistics_images: int = 0
    """After training, measure the statistics of batch normalization again on served crops of so
    many training images. 0: keep those of training."""
    task: Literal["auto", "single_label", "multi_label"] = "auto"
    """`auto`: multi-label if a cell of a table holds several labels with `;` between them."""
    validation_share: float = 0.2
    """For a table without a `split` column: the share of its rows that is used for reports only."""
    calibration_share: float = 0.05
    """Share of the training images that is held out, by class, and never trained on."""
    calibration_folds: int = 3
    """With fewer than 50 images held out, `train` calibrates by cross-fitting: this many networks
    more are trained, each without another part of the images, for which it then answers. 0: the
    package is not calibrated."""
    subset_share: float = 1.0
    """Train on a stratified subset of this share, to try an idea quickly. It has at least 160
    images, if the data set has that many."""
    checkpoint_epochs: int = 1
    """Epochs between two checkpoints. A stopped run loses the epochs since the last one."""
    seed: int = 42
    """Seed of the weights, the order, the crops and the mixing."""
    split_seed: int = 42
    """Seed of the split: which images are held out or used for reports only. It is separate from
    `seed`: runs that continue one another, or are averaged, then hold out the same images."""
    split_by: Literal["content", "order"] = "content"
    """`content`: copies of a file stay in one part of the split, and the order of a table's rows
    does not change the parts. `order`: the split of versions before 0.6, for their runs."""

    def __post_init__(self) -> None:
        check(self)
        self.input_size()  # refuse sizes that no package can have before hours of training

    def input_size(self) -> InputSize:
        """How the exported package will make views of a file.

        Raises:
            UsageError: a package cannot have these sizes.
        """
        try:
            return InputSize(
                crop_px=self.crop_px,
                resize_px=self.resize_px,
                fit=self.fit,
                interpolation=self.interpolation,
                decode=self.decode,
                decode_factor=self.decode_factor,
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise UsageError(f"{name}: {first['msg']}, but got {first['input']!r}") from None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Recipe":
        """Check plain JSON.

        A recipe without `decode` is old: every pixel was decoded then. One without
        `calibration_folds` is from before cross-fitting, one without `split_by` split images by the
        order of rows.

        Raises:
            UsageError: an unknown key, a value of the wrong type, or values that do not fit.
        """
        try:
            return _RECIPE.validate_json(json.dumps({**OLD, **data}))
        except ValidationError as error:
            raise UsageError(said(error)) from error


AUTO = "auto"
"""Instead of a recipe's name: `training.start` chooses one."""


def names() -> list[str]:
    """The names of the recipes that ship."""
    package = importlib.import_module("training.recipes")
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__))


def check_name(name: str) -> None:
    """Raises UsageError if there is no recipe `name`; the message has the nearest one."""
    if name not in names():
        hint = did_you_mean(name, names())
        raise UsageError(
            f"no recipe {name!r}; {hint}{' ' if hint else ''}there are: {', '.join(names())}"
        )


def load(name: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe `name` with `overrides` such as ``stage.1.epochs=8`` or ``label_smoothing=0``.

    Raises:
        UsageError: no such recipe, no such key, or a value of the wrong type.
    """
    check_name(name)
    module = importlib.import_module(f"training.recipes.{name.replace('-', '_')}")
    return changed(module.RECIPE.to_json(), overrides or [])


def changed(data: dict[str, Any], overrides: Sequence[str]) -> Recipe:
    """The recipe of this JSON, with `overrides`.

    Raises:
        UsageError: no such key, or a value of the wrong type.
    """
    given = {override.partition("=")[0].strip() for override in overrides}
    if "batch_images" in given:
        data["least_steps"] = 0  # a batch that was asked for is not changed
    if any(key == "stages" or key.endswith(".epochs") for key in given):
        data["least_updates"] = 0
    for override in overrides:
        override_value(data, override)
    return Recipe.from_json(data)


_RECIPE = TypeAdapter(Recipe)
