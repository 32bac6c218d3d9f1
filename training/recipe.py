"""A training run as data: every value has a name and a type, and can be overridden.

A recipe is a list of stages; a stage is one fit with one learning-rate schedule. The recipes that
ship are the modules of ``training/recipes``, one file each.
"""

import dataclasses
import importlib
import json
import pkgutil
from dataclasses import field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.errors import UsageError
from service.package.manifest import Decode, InputSize

Schedule = Literal["one_cycle", "flat_cos", "fine_tune"]
Optimizer = Literal["adam", "ranger", "sgd"]
Mixer = Literal["none", "mixup", "cutmix", "resizemix"]
Augment = Literal["crop", "presize"]
Normalization = Literal["imagenet", "dataset", "init", "none"]

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
    frozen_epochs: int = 1
    """`fine_tune` only: epochs with a frozen body, before the `epochs` that train all layers."""

    def size_at(self, epoch: int) -> int:
        """The side in pixels of the crops of epoch `epoch` (counted from 0)."""
        size_px = self.size_px
        for start, grown_px in self.grow_at:
            if epoch >= start:
                size_px = grown_px
        return size_px


@dataclass(frozen=True, config=CHECKED)
class Architecture:
    """A member of fastai's xresnet family."""

    name: str = "xresnet50"
    act: Literal["relu", "mish"] = "relu"
    self_attention: bool = False
    widen: float = 1.0


@dataclass(frozen=True, config=CHECKED)
class Recipe:
    """A whole training run."""

    summary: str
    stages: tuple[Stage, ...]
    architecture: Architecture = field(default_factory=Architecture)
    crop_px: int = 224
    """The side of a crop when the model is served."""
    resize_px: int = 256
    """The shorter side an image is resized to before crops are cut."""
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
    batch_sizes_px: tuple[int, ...] = ()
    """Side lengths of training batches. Each batch gets one at random, among those that are not
    larger than the stage's crops. Empty: always the side of the stage's crops."""
    optimizer: Optimizer = "adam"
    weight_decay: float = 1e-2
    normalization: Normalization = "imagenet"
    """`dataset`: computed over all training images. `init`: that of the initial weights."""
    augment: Augment = "presize"
    presize_px: int = 460
    """`presize` only: the side of the item-level crop that batch transforms then work on."""
    min_scale: float = 0.75
    """The smallest share of the image's area that a random crop may have."""
    mixer: Mixer = "none"
    mixer_alpha: float = 0.4
    label_smoothing: float = 0.0
    task: Literal["auto", "single_label", "multi_label"] = "auto"
    """`auto`: multi-label if a cell of a table holds several labels with `;` between them."""
    validation_share: float = 0.2
    """For a table without a `split` column: the share of its rows that is used for reports only."""
    calibration_share: float = 0.05
    """Share of the training images that is held out, by class, and never trained on."""
    subset_share: float = 1.0
    """Train on a stratified subset of this share, to try an idea quickly. It has at least 160
    images, where there are so many."""
    seed: int = 42
    """Seed of the weights, the order, the crops and the mixing."""
    split_seed: int = 42
    """Seed of the split: which images are held out or used for reports only. It is separate from
    `seed`: runs that continue one another, or are averaged, then hold out the same images."""

    def __post_init__(self) -> None:
        sizes = [self.crop_px, self.resize_px, *self.batch_sizes_px]
        sizes += [s.size_at(e) for s in self.stages for e in range(s.epochs)]
        for side_px in sizes:
            if side_px % 32:
                raise UsageError(
                    f"sizes must be multiples of the network's stride, 32 px, but got {side_px}: "
                    "other sides leave half-padded features at the border"
                )
        for name in ("validation_share", "calibration_share", "subset_share", "min_scale"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise UsageError(f"{name} must lie in 0..1, but got {share}")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must lie in 0..1, but got {self.label_smoothing}")
        if self.batch_images < 2:
            raise UsageError(f"batch_images must be at least 2, but got {self.batch_images}")
        if self.least_steps < 0:
            raise UsageError(f"least_steps must be at least 0, but got {self.least_steps}")
        if self.resize_px < self.crop_px:
            raise UsageError(
                f"resize_px ({self.resize_px}) must be at least crop_px ({self.crop_px})"
            )
        if not self.stages or any(stage.epochs < 1 for stage in self.stages):
            raise UsageError("a recipe needs at least one stage, of at least one epoch")
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
        """Check plain JSON. A recipe without `decode` is old: every pixel was decoded then.

        Raises:
            UsageError: an unknown key, a value of the wrong type, or values that do not fit.
        """
        try:
            return _RECIPE.validate_json(json.dumps({"decode": "exact", **data}))
        except ValidationError as error:
            raise UsageError(_said(error)) from error


def names() -> list[str]:
    """The names of the recipes that ship."""
    package = importlib.import_module("training.recipes")
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__))


def load(name: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe `name` with `overrides` such as ``stage.1.epochs=8`` or ``label_smoothing=0``.

    Raises:
        UsageError: no such recipe, no such key, or a value of the wrong type.
    """
    if name not in names():
        raise UsageError(f"no recipe {name!r}; there are: {', '.join(names())}")
    module = importlib.import_module(f"training.recipes.{name.replace('-', '_')}")
    data = module.RECIPE.to_json()
    if "batch_images" in {override.partition("=")[0].strip() for override in overrides or []}:
        data["least_steps"] = 0  # a batch that was asked for is not changed
    for override in overrides or []:
        _override(data, override)
    return Recipe.from_json(data)


def _override(data: dict[str, Any], text: str) -> None:
    path, equals, raw = text.partition("=")
    if not equals:
        raise UsageError(f"an override is KEY=VALUE, but got {text!r}")
    *parents, leaf = path.strip().split(".")
    node: Any = data
    for key in ["stages" if key == "stage" else key for key in parents]:
        node = _child(node, key, path)
    _child(node, leaf, path)
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        value = raw
    if isinstance(node, list | tuple):
        raise UsageError(f"{path!r} names a whole stage; name one of its values")
    node[leaf] = value


def _child(node: Any, key: str, path: str) -> Any:
    if isinstance(node, list | tuple):
        if key.isdigit() and 1 <= int(key) <= len(node):
            return node[int(key) - 1]
        raise UsageError(f"{path!r}: stages are counted from 1 to {len(node)}, but got {key!r}")
    if isinstance(node, dict) and key in node:
        return node[key]
    known = ", ".join(node) if isinstance(node, dict) else "none"
    raise UsageError(f"{path!r}: no key {key!r} here; known keys: {known}")


def _said(error: ValidationError) -> str:
    """The first error, worded like an override."""
    first = error.errors()[0]
    parts = list(first["loc"])
    if len(parts) > 1 and parts[0] == "stages":  # counted from 1, as in --set
        parts[:2] = ["stage", int(parts[1]) + 1]
    path = ".".join(["recipe", *map(str, parts)])
    got = first["input"]
    match first["type"]:
        case "unexpected_keyword_argument":
            return f"{path} is no key of a recipe"
        case "dataclass_type":
            return f"{path} is a group of values; name one of them, as in {path}.KEY"
        case "literal_error":
            wanted = first.get("ctx", {})["expected"].replace("'", "").replace(" or ", ", ")
            return f"{path} must be one of {wanted}, but got {got!r}"
        case "tuple_type":
            return f"{path} must be a list of items, but got {got!r}"
        case "missing" if isinstance(first["loc"][-1], int):
            parent, items = path.rpartition(".")[0], len(error.errors()) + len(got)
            return f"{parent} must be a list of {items} items, but got {got!r}"
        case kind if kind.removesuffix("_type") in ("int", "float", "bool", "string"):
            return f"{path} must be {kind.removesuffix('_type')}, but got {got!r}"
        case _:
            return f"{path}: {first['msg']}, but got {got!r}"


_RECIPE = TypeAdapter(Recipe)
