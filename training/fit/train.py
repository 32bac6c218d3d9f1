"""Run a recipe: fit after fit. Every epoch ends with a checkpoint that a run can resume from."""

import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

from fastai.callback.core import Callback

from service.errors import DataError, UsageError
from service.inference.tta.planner import Planner
from service.replacing import check_writable
from training.data.cache.entry import CachedPixels
from training.data.dataset import LEAST_CALIBRATION_IMAGES, Split, readable, split
from training.data.labels import labels
from training.data.stats import IDENTITY, IMAGENET, ChannelStats, from_files
from training.fit import distributed
from training.fit.batch_size import fit_to_data
from training.fit.cached.keeping import CACHE_OFF, CacheOptions, Kept, keep
from training.fit.loop.compiled import CompiledSteps
from training.fit.loop.distillation import Distilled
from training.fit.loop.run import Run
from training.fit.loop.teacher import Teacher, open_teacher
from training.fit.loop.time_plan import time_plan
from training.network.initial_weights import InitialWeights
from training.recipe import Recipe
from training.run import checkpoint
from training.run.checkpoint import Checkpoint
from training.run.tensorboard import TensorBoardLogger


def channel_stats(
    recipe: Recipe,
    data: Split,
    initial: InitialWeights | None = None,
    decoded: CachedPixels | None = None,
) -> ChannelStats:
    """The normalization of the recipe. `dataset` reads every training image, unless it is decoded.

    Raises:
        UsageError: the recipe takes it from initial weights, and there are none.
    """
    if recipe.normalization == "init":
        if initial is None:
            raise UsageError(
                "normalization=init comes with weights: name them with --init, "
                "or --set normalization=dataset"
            )
        return initial.stats
    if recipe.normalization == "imagenet":
        return IMAGENET
    if recipe.normalization == "none":
        return IDENTITY
    if decoded:
        return decoded.stats(decoded.rows_of([item.path for item in data.train]))
    planner = Planner(recipe.input_size())
    return from_files((item.path for item in data.train), planner.decoding())


def train(
    data_folder: Path,
    recipe: Recipe,
    run_folder: Path,
    *,
    resume: bool = False,
    initial: InitialWeights | None = None,
    workers: int = 0,
    board: TensorBoardLogger | None = None,
    cache: CacheOptions = CACHE_OFF,
    minutes: float | None = None,
    teacher: Path | None = None,
    compiled: bool = False,
    images: Split | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train `recipe` on ``data_folder/train``, writing checkpoints to `run_folder`.

    Random numbers are seeded by (seed, epoch), so a resumed run draws the same numbers as an
    uninterrupted one. A head of another shape than in `initial` starts from new weights. Files
    that cannot be decoded are named and left out. Curves go to `board` during training. With
    `cache`, files are decoded once instead of once an epoch: see `training.fit.cached`. `minutes`
    plans the number of epochs: see `training.fit.loop.time_plan`. The time starts with this call.
    `images` are the images of `data_folder`, if they have been read and split already.
    `teacher` is a model package or a run to learn from: see `training.fit.loop.distillation`. With
    `compiled`, steps go through `torch.compile`.

    Processes that were launched together train together: see `training.fit.distributed`.

    Raises:
        DataError: the data cannot be trained on, or differs from the resumed run's.
        TrainingDiverged: the loss is not a number; the checkpoint of the previous epoch stays.
        UsageError: the folder holds a run and `resume` is false, or its recipe differs.
    """
    started = time.monotonic()
    if not distributed.is_main():
        board, log = None, _silent

    unread: list[int] = []
    given = images

    def prepared() -> tuple[Recipe, Split, ChannelStats, Checkpoint | None, Kept | None]:
        begun = (run_folder / checkpoint.STATE).exists()
        if begun and not resume:
            raise UsageError(
                f"{run_folder} holds a run already: continue it with --resume, or name another "
                "folder (--run)"
            )
        check_writable(run_folder)
        found = given or split(data_folder, recipe)
        labels(found.classes, data_folder)  # the export needs them: refuse before hours of work
        state = checkpoint.load(run_folder) if begun else None
        kept, decoded = keep(cache, recipe, found, data_folder, state and state.facts, log)
        if kept and workers:
            log("--workers is not used: the images have been decoded")
        images = readable(found, log, decoded.broken(found.paths()) if decoded else None)
        if not images.calibration:
            raise DataError(_none_held_out(images, recipe))
        if too_few := _too_few(images, recipe):
            log(too_few)
        before, after = (len(s.train) + len(s.calibration) for s in (found, images))
        unread.append(before - after)
        fitted = fit_to_data(recipe, len(images.train), log, distributed.processes())
        if state is None:
            return fitted, images, channel_stats(recipe, images, initial, decoded), None, kept
        _check_same(state, fitted, images)
        return fitted, images, ChannelStats.from_json(state.facts["normalization"]), state, kept

    with distributed.joined():
        fitted, images, stats, state, kept = distributed.from_main(prepared)
        plan = time_plan(minutes, fitted, state, started)
        extra: list[Callback] = [CompiledSteps()] if compiled else []
        known = open_teacher(teacher, images.classes, images.task) if teacher else None
        _check_same_teacher(state, known)
        if known:
            values = fitted.distillation
            extra.append(Distilled(known.logits, values, stats, images.task))
        run = Run(
            fitted, images, stats, run_folder, state, initial, workers, log, board, kept, plan,
            extra, known.facts if known else None,
        )  # fmt: skip
        with closing(board) if board else nullcontext():
            run.go()
    if sum(unread):
        log(f"trained without {sum(unread)} unreadable images, named above")
    return run_folder


def _none_held_out(images: Split, recipe: Recipe) -> str:
    """Why no image is held out. The only image of a class never is."""
    if len(images.train) <= len(images.classes):
        return (
            f"no image is held out for calibration, because {len(images.train)} training images of "
            f"{len(images.classes)} classes are too few: a class needs at least 2 images"
        )
    return (
        f"no image is held out for calibration: calibration_share={recipe.calibration_share} "
        f"rounds to 0 of {len(images.train)} images (--set calibration_share=…)"
    )


def _too_few(images: Split, recipe: Recipe) -> str:
    """A message about a split that is too small for calibration; empty if it is large enough."""
    held_out, networks = len(images.calibration), recipe.calibration_folds
    if held_out >= LEAST_CALIBRATION_IMAGES:
        return ""
    few = f"{held_out} images are held out, but calibration needs {LEAST_CALIBRATION_IMAGES}: "
    share = 1.1 * LEAST_CALIBRATION_IMAGES / len(images)  # 1.1, because each class rounds its part
    advice = f"--set calibration_share={share:.2f} holds out enough" if share < 0.5 else ""
    if networks and len(images) >= LEAST_CALIBRATION_IMAGES and distributed.processes() == 1:
        return (
            f"{few}after the training, {networks} more networks are trained, each without a part "
            f"of the images, to calibrate the package. They take {networks - 1} times as long as "
            f"the training (--set calibration_folds=0 leaves this out{'; ' * bool(advice)}{advice})"
        )
    return (
        f"{few}the package will not be calibrated, and will not have the mode adaptive"
        f"{': ' * bool(advice)}{advice}"
    )


def _check_same(state: Checkpoint, recipe: Recipe, images: Split) -> None:
    saved = Recipe.from_json(state.facts["recipe"])
    if saved != recipe:
        values = saved.to_json()
        changed = [key for key, value in recipe.to_json().items() if values[key] != value]
        simple = [key for key in changed if isinstance(values[key], (str, int, float))]
        hint = " ".join(f"--set {key}={values[key]}" for key in simple if key != "summary")
        raise UsageError(
            f"--resume needs the run's own recipe; it differs in {', '.join(changed)}"
            + (f" (the run: {hint})" if hint else "")
        )
    if state.facts["fingerprint"] != images.fingerprint():
        raise DataError("--resume needs the run's own data: files were added, removed or changed")


def _check_same_teacher(state: Checkpoint | None, teacher: Teacher | None) -> None:
    saved = state.facts.get("teacher") if state else None
    if state and saved != (teacher.facts if teacher else None):
        began = f"the teacher {saved['name']}" if saved else "no teacher"
        raise UsageError(
            f"--resume needs the run's own --teacher: it began with {began}, and got "
            + (f"{teacher.facts['name']}" if teacher else "none")
            + (", whose weights are others" if teacher and saved else "")
        )


def _silent(_: str) -> None:
    """Only process 0 prints messages."""
