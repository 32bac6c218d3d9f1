"""Checks of a recipe's values beyond their types."""

from typing import TYPE_CHECKING

from service.errors import UsageError

if TYPE_CHECKING:
    from training.recipe import Recipe, Stage

STRIDE_PX = 32
LEAST = {
    "least_steps": 0,
    "least_updates": 0,
    "calibration_folds": 0,
    "statistics_images": 0,
    "checkpoint_epochs": 1,
}


def check(recipe: "Recipe") -> None:
    """Refuse values that do not fit.

    Raises:
        UsageError: with the value and its limits.
    """
    _check_sizes(recipe)
    for name in ("validation_share", "calibration_share", "subset_share", "min_scale"):
        _check_share(name, getattr(recipe, name))
    if not 0 <= recipe.label_smoothing < 1:
        raise UsageError(f"label_smoothing must lie in 0..1, but got {recipe.label_smoothing}")
    if recipe.batch_images < 2:
        raise UsageError(f"batch_images must be at least 2, but got {recipe.batch_images}")
    for name, least in LEAST.items():
        if getattr(recipe, name) < least:
            raise UsageError(f"{name} must be at least {least}, but got {getattr(recipe, name)}")
    if recipe.calibration_folds == 1:
        raise UsageError("calibration_folds must be 0 or at least 2, but got 1")
    if not recipe.stages or any(stage.epochs < 1 for stage in recipe.stages):
        raise UsageError("a recipe needs at least one stage, of at least one epoch")
    for number, stage in enumerate(recipe.stages, 1):
        _check_stage(f"stage.{number}", stage)
    _check_mixing(recipe)
    if not 0 <= recipe.ema.decay < 1:
        raise UsageError(f"ema.decay must lie in 0..1 and below 1, but got {recipe.ema.decay}")
    if recipe.ema.warm_up < 0:
        raise UsageError(f"ema.warm_up must be at least 0, but got {recipe.ema.warm_up}")
    if recipe.distillation.weight < 0 or recipe.distillation.temperature <= 0:
        raise UsageError(
            "distillation.weight must be at least 0 and distillation.temperature above 0, but got "
            f"{recipe.distillation.weight} and {recipe.distillation.temperature}"
        )


def _check_sizes(recipe: "Recipe") -> None:
    sizes = [recipe.crop_px, recipe.resize_px, *recipe.batch_sizes_px]
    sizes += [side_px for stage in recipe.stages for side_px in stage.sizes()]
    for side_px in sizes:
        if recipe.architecture.is_backbone:  # its stride is found at the export
            if side_px < 1:
                raise UsageError(f"sizes must be at least 1 px, but got {side_px}")
        elif side_px % STRIDE_PX or side_px <= 0:
            raise UsageError(
                f"sizes must be multiples of the network's stride, {STRIDE_PX} px, but got "
                f"{side_px}: other sides leave half-padded features at the border"
            )
    if recipe.resize_px < recipe.crop_px:
        raise UsageError(
            f"resize_px ({recipe.resize_px}) must be at least crop_px ({recipe.crop_px})"
        )


def _check_stage(name: str, stage: "Stage") -> None:
    if stage.grow_at and stage.grow_at_share:
        raise UsageError(f"{name} has grow_at and grow_at_share: give one of them, and [] for one")
    for share, _ in stage.grow_at_share:
        _check_share(f"{name}.grow_at_share", share)
    if not 0 <= stage.warm_up < 1:
        raise UsageError(f"{name}.warm_up must lie in 0..1 and below 1, but got {stage.warm_up}")


def _check_mixing(recipe: "Recipe") -> None:
    if recipe.mixes and recipe.mixer != "none":
        raise UsageError(
            f"the recipe has mixer={recipe.mixer} and mixes: give one of them "
            "(--set mixer=none, or --set mixes=[])"
        )
    for number, mix in enumerate(recipe.mixes, 1):
        _check_share(f"mix.{number}.share", mix.share)
        if mix.alpha <= 0:
            raise UsageError(f"mix.{number}.alpha must be above 0, but got {mix.alpha}")
    total = sum(mix.share for mix in recipe.mixes)
    if total > 1 + 1e-9:
        raise UsageError(f"the shares of mixes must add up to at most 1, but got {total:g}")


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise UsageError(f"{name} must lie in 0..1, but got {share}")
