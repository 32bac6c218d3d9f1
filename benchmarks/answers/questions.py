"""The questions as data: the compared trainings, and what each of them changes."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from training import recipe
from training.evaluation.methods import MethodName
from training.recipe import Recipe

ADAMW = (
    "optimizer=adamw",
    "weight_decay=0.05",
    "stage.1.schedule=cosine",
    "stage.1.lr=0.002",
)


@dataclass(frozen=True)
class Setting:
    """The common settings of all trainings in a run of this benchmark."""

    subset_share: float = 0.1
    few: int = 3
    """Epochs of the short trainings."""
    many: int = 8
    """Epochs of the long ones."""
    side_px: int = 64
    large_px: int = 96
    batch_images: int = 32
    validation_images: int = 2000
    optimizer: str = "ranger"
    """`ranger` with the recipe's schedule, or `adamw` as recipe gpu has it."""

    def common(self, side_px: int) -> tuple[str, ...]:
        return (
            f"stage.1.size_px={side_px}",
            f"crop_px={side_px}",
            f"resize_px={side_px + 32}",
            f"subset_share={self.subset_share}",
            f"batch_images={self.batch_images}",
            "normalization=dataset",
            "label_smoothing=0",
            "calibration_share=0.01",
            "split_by=order",  # as the archived measurements
            *(ADAMW if self.optimizer == "adamw" else ()),
        )


FULL = Setting(
    subset_share=1.0,
    few=5,
    many=20,
    side_px=128,
    large_px=192,
    batch_images=128,
    validation_images=100_000,
    optimizer="adamw",
)
"""Full size, for a GPU: all images, and the 5 and 20 epochs of Imagenette's leaderboard."""
FULL_MINUTES = 9.0


@dataclass(frozen=True)
class Arm:
    """One training, and how its network is tested. `against` names the arm to compare it with."""

    name: str
    overrides: tuple[str, ...]
    against: str | None = None
    wrong_labels: float = 0.0
    """Share of the training images whose label is replaced by another class's."""
    method: MethodName = "none"
    base: str = "quick"

    def recipe(self, seed: int) -> Recipe:
        return recipe.load(self.base, [*self.overrides, f"seed={seed}"])

    def training_key(self, seed: int) -> str:
        """Names the training: two arms with the same key share it."""
        return training_key(self.recipe(seed), self.wrong_labels)

    def key(self, seed: int, setting: Setting) -> str:
        """Names the measurement: the training, the method of testing, and the test images."""
        return measurement_key(
            self.recipe(seed), self.wrong_labels, self.method, setting.validation_images
        )


@dataclass(frozen=True)
class Question:
    """Arms to compare."""

    name: str
    title: str
    arms: tuple[Arm, ...]


def questions(setting: Setting) -> tuple[Question, ...]:
    """Every question, with arms that share as many trainings as they can."""
    few, many = setting.few, setting.many
    small = setting.common(setting.side_px)
    large = setting.common(setting.large_px)

    def epochs(count: int, *more: str) -> tuple[str, ...]:
        return (*small, f"stage.1.epochs={count}", *more)

    plain = f"no mixing, {many} epochs"
    full, at_small, at_large = equal_time(setting)
    grown = f"{at_small} epochs at {setting.side_px} px, {at_large} at {setting.large_px} px"
    wrong = 0.1
    return (
        Question(
            "normalization",
            "Does normalization help?",
            (
                Arm("not normalized", epochs(few, "normalization=none")),
                Arm("normalized with the data set's statistics", epochs(few), "not normalized"),
            ),
        ),
        Question(
            "progressive",
            "Progressive resizing against full size, at equal time",
            (
                Arm(
                    f"{full} epochs at {setting.large_px} px",
                    (*large, f"stage.1.epochs={full}"),
                ),
                Arm(
                    grown,
                    (
                        *large,
                        f"stage.1.size_px={setting.side_px}",
                        f"stage.1.epochs={at_small + at_large}",
                        f"stage.1.grow_at=[[{at_small}, {setting.large_px}]]",
                    ),
                    f"{full} epochs at {setting.large_px} px",
                ),
            ),
        ),
        Question(
            "mixup",
            "Mixup at few and at many epochs",
            (
                Arm(f"no mixing, {few} epochs", epochs(few)),
                Arm(
                    f"mixup, {few} epochs",
                    epochs(few, "mixer=mixup", "mixer_alpha=0.4"),
                    f"no mixing, {few} epochs",
                ),
                Arm(plain, epochs(many)),
                Arm(
                    f"mixup, {many} epochs",
                    epochs(many, "mixer=mixup", "mixer_alpha=0.4"),
                    plain,
                ),
            ),
        ),
        Question(
            "label-smoothing",
            "Label smoothing, with clean and with 10% wrong labels",
            (
                Arm("clean labels", epochs(many)),
                Arm(
                    "clean labels, smoothed by 0.1",
                    epochs(many, "label_smoothing=0.1"),
                    "clean labels",
                ),
                Arm("10% wrong labels", epochs(many), wrong_labels=wrong),
                Arm(
                    "10% wrong labels, smoothed by 0.1",
                    epochs(many, "label_smoothing=0.1"),
                    "10% wrong labels",
                    wrong_labels=wrong,
                ),
            ),
        ),
        Question(
            "tta",
            "Five-crop against fastai's TTA",
            (
                Arm("centre crop", epochs(many), method="none"),
                Arm("fastai's TTA, 5 passes", epochs(many), "centre crop", method="fastai_tta"),
                Arm("five_crop, 5 passes", epochs(many), "centre crop", method="five_crop"),
                Arm(
                    "five_crop, against fastai's",
                    epochs(many),
                    "fastai's TTA, 5 passes",
                    method="five_crop",
                ),
            ),
        ),
        Question(
            "mixers",
            "The variants of mixup",
            (
                Arm(plain, epochs(many)),
                Arm("mixup", epochs(many, "mixer=mixup", "mixer_alpha=0.4"), plain),
                Arm("cutmix", epochs(many, "mixer=cutmix", "mixer_alpha=1.0"), plain),
                Arm("resizemix", epochs(many, "mixer=resizemix"), plain),
            ),
        ),
    )


def epoch_cost(side_px: int) -> float:
    """Estimated milliseconds for one image of an epoch on two CPU cores; used for plans."""
    return 1.0 + 1.65e-3 * side_px**2


def equal_time(setting: Setting) -> tuple[int, int, int]:
    """Epochs at full size, and epochs at the small and the large size that take about as long.

    The time is that of half of `many` (at least 2) epochs at full size. The second half of these
    epochs stays at full size.
    """
    full = max(2, setting.many // 2)
    at_large = max(1, full // 2)
    factor = epoch_cost(setting.large_px) / epoch_cost(setting.side_px)
    return full, max(1, round((full - at_large) * factor)), at_large


def training_key(recipe: Recipe, wrong_labels: float) -> str:
    """Names a training by its values; the summary of a recipe is none of them."""
    values = {name: value for name, value in recipe.to_json().items() if name != "summary"}
    return _digest({"recipe": values, "wrong": wrong_labels})


def measurement_key(
    recipe: Recipe, wrong_labels: float, method: str, validation_images: int
) -> str:
    """Names a training, the method of testing, and how many images are asked for."""
    asked = {"method": method, "validation_images": validation_images}
    return _digest({"training": training_key(recipe, wrong_labels), **asked})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
