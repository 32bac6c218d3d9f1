"""Run a recipe: fit after fit. Every epoch ends with a checkpoint that a run can resume from."""

import csv
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device, get_model, to_device
from rich.progress import Progress

from service.errors import DataError, UsageError
from service.inference.tta.planner import Planner
from training.data.cache.entry import CachedPixels
from training.data.dataset import LEAST_CALIBRATION_IMAGES, Split, readable, split
from training.data.labels import labels
from training.data.stats import IDENTITY, IMAGENET, ChannelStats, from_files
from training.fit import distributed, precision
from training.fit.batch_size import fit_to_data
from training.fit.cached.keeping import CACHE_OFF, CacheOptions, Kept, keep
from training.fit.cached.loaders import cached_loaders
from training.fit.learner import learner
from training.fit.loaders import dataloaders
from training.fit.loop.each_epoch import EachEpoch
from training.fit.loop.ema import WeightAverage
from training.fit.schedule import Fit, fits, scheduler
from training.fit.seeding import seed_all
from training.network.initial_weights import InitialWeights, load_matching
from training.recipe import Recipe
from training.run import checkpoint
from training.run.checkpoint import Checkpoint
from training.run.curves import draw_curves
from training.run.progress import progress_bar
from training.run.tensorboard import TensorBoardLogger

HISTORY_COLUMNS = (
    "epoch", "size_px", "lr", "train_loss", "calibration_loss", "calibration_accuracy", "seconds",
)  # fmt: skip


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
    log: Callable[[str], None] = print,
) -> Path:
    """Train `recipe` on ``data_folder/train``, writing checkpoints to `run_folder`.

    Random numbers are seeded by (seed, epoch), so a resumed run draws the same numbers as an
    uninterrupted one. A head of another shape than in `initial` stays untrained. Files that cannot
    be decoded are named and left out. Curves go to `board` during training. With `cache`, files are
    decoded once instead of once an epoch: see `training.fit.cached`.

    Processes that were launched together train together: see `training.fit.distributed`.

    Raises:
        DataError: the data cannot be trained on, or differs from the resumed run's.
        TrainingDiverged: the loss is not a number; the checkpoint of the previous epoch stays.
        UsageError: the folder holds a run and `resume` is false, or its recipe differs.
    """
    if not distributed.is_main():
        board, log = None, _silent

    unread: list[int] = []

    def prepared() -> tuple[Recipe, Split, ChannelStats, Checkpoint | None, Kept | None]:
        begun = (run_folder / checkpoint.STATE).exists()
        if begun and not resume:
            raise UsageError(
                f"{run_folder} holds a run: continue it with --resume, or name another folder"
            )
        found = split(data_folder, recipe)
        labels(found.classes, data_folder)  # the export needs them: refuse before hours of work
        state = checkpoint.load(run_folder) if begun else None
        kept, decoded = keep(cache, recipe, found, data_folder, state and state.facts, log)
        images = readable(found, log, decoded.broken(found.paths()) if decoded else None)
        if not images.calibration:
            raise DataError(
                f"no image is held out for calibration: calibration_share="
                f"{recipe.calibration_share} rounds to 0 of {len(images.train)} images "
                "(--set calibration_share=…)"
            )
        if too_few := _too_few(images):
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
        run = Run(fitted, images, stats, run_folder, state, initial, workers, log, board, kept)
        with closing(board) if board else nullcontext():
            run.go()
    if sum(unread):
        log(f"trained without {sum(unread)} unreadable images, named above")
    return run_folder


def _too_few(images: Split) -> str:
    """The message, before hours of training, about a split that is too small for calibration."""
    held_out = len(images.calibration)
    if held_out >= LEAST_CALIBRATION_IMAGES:
        return ""
    share = 1.1 * LEAST_CALIBRATION_IMAGES / len(images)  # 1.1, because each class rounds its part
    advice = f": --set calibration_share={share:.2f}" if share < 0.5 else ""
    return (
        f"{held_out} images are held out, and calibration takes {LEAST_CALIBRATION_IMAGES}: the "
        f"package will have neither temperatures nor adaptive TTA{advice}"
    )


class Run:
    """One training run: the shared state of its fits."""

    def __init__(
        self,
        recipe: Recipe,
        images: Split,
        stats: ChannelStats,
        folder: Path,
        state: Checkpoint | None,
        initial: InitialWeights | None,
        workers: int,
        log: Callable[[str], None],
        board: TensorBoardLogger | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.recipe, self.images, self.stats = recipe, images, stats
        self.folder, self.workers, self.log, self.board = folder, workers, log, board
        self.kept, self.pixels = kept, kept.open(images, log) if kept else None
        # A process loads its share of a batch at once.
        self.loaded = replace(recipe, batch_images=distributed.share_of_batch(recipe.batch_images))
        self.history: list[dict[str, Any]] = state.facts["history"] if state else []
        self.plan = fits(recipe.stages)
        self.total_epochs = sum(fit.epochs for fit in self.plan)
        self.pretrained = state.facts.get("pretrained", False) if state else initial is not None
        began = initial.source if initial else None
        self.started_from = state.facts.get("started_from") if state else began
        seed_all(recipe.seed, 0)
        loaders = self.loaders(self.plan[0].stage.size_at(0))
        self.learn: Any = learner(
            recipe, loaders, len(images.classes), self.pretrained, images.task
        )
        if initial is not None and state is None:
            untrained = load_matching(self.learn.model, initial.weights)
            log(f"started from other weights; left untrained: {', '.join(untrained) or 'none'}")
        self.device = getattr(loaders, "device", None) or default_device()
        self.learn.model.to(self.device)  # before the optimizer, whose saved state follows it
        self.learn.create_opt()
        self.state = state
        if state:
            self.learn.model.load_state_dict(state.weights | state.live)
        self.average: WeightAverage | None = None
        if recipe.ema.decay:
            weights = state.weights if state else self.learn.model.state_dict()
            steps = state.facts["ema_steps"] if state else 0
            self.average = WeightAverage(recipe.ema, self.learn.model, weights, steps)

    def loaders(self, size_px: int) -> Any:
        stats = None if self.stats.source == "none" else self.stats
        if self.pixels:
            return cached_loaders(self.pixels, self.images, self.loaded, size_px, stats)
        return dataloaders(self.images, self.loaded, size_px, stats, self.workers)

    def go(self) -> None:
        done = len(self.history)
        _, arithmetic = precision.callbacks()
        self.log(
            f"{len(self.images.train)} training and {len(self.images.calibration)} calibration "
            f"images, {len(self.images.classes)} classes; {self.total_epochs} epochs in "
            f"{arithmetic}" + (f", continuing after epoch {done}" if done else "")
        )
        if self.board:
            self.board.open(done * self.batches)
        first = 0
        with progress_bar(distributed.is_main()) as bar, distributed.spread(self.learn):
            for fit in self.plan:
                if done < first + fit.epochs:
                    self.fit(fit, first, max(0, done - first), bar)
                first += fit.epochs

    @property
    def batches(self) -> int:
        """Steps of the optimizer in an epoch."""
        return len(self.images.train) // self.recipe.batch_images

    def fit(self, fit: Fit, first: int, start: int, bar: Progress) -> None:
        saved = to_device(self.state.optimizer, self.device) if self.state else None
        self.state = None
        if saved and start == 0:
            self.learn.opt.load_state_dict(saved)
        # Freezing clears the optimizer's state. A new fit needs that; a resumed fit must not do it.
        self.learn.freeze() if fit.frozen else self.learn.unfreeze()
        if saved and start > 0:
            self.learn.opt.load_state_dict(saved)
        self.learn.fit(
            fit.epochs,
            lr=fit.lr,
            cbs=[*self.step_callbacks(fit), EachEpoch(self, fit, first, start, bar)],
            start_epoch=start,
        )

    def step_callbacks(self, fit: Fit) -> list[Callback]:
        """The callbacks that work in every step of a fit, beside those of the learner."""
        return [scheduler(self.learn, fit), *([self.average] if self.average else [])]

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights to export: the average, if the recipe has one."""
        model = get_model(self.learn.model)
        return self.average.averaged(model) if self.average else model.state_dict()

    def record(self, row: dict[str, Any]) -> None:
        """Append an epoch to the history and write the checkpoint that ends with it."""
        self.history.append(row)
        if not distributed.is_main():
            return
        facts = {
            "format": 1,
            "recipe": self.recipe.to_json(),
            "classes": list(self.images.classes),
            "task": self.images.task,
            "normalization": asdict(self.stats),
            "fingerprint": self.images.fingerprint(),
            "pretrained": self.pretrained,
            "started_from": self.started_from,
            "finished": len(self.history) == self.total_epochs,
            "precision": precision.callbacks()[1],
            "cache": self.kept.facts() if self.kept else None,
            "history": self.history,
        }
        live: dict[str, torch.Tensor] = {}
        if self.average:
            facts["ema_steps"] = self.average.steps
            live = self.average.live(get_model(self.learn.model))
        optimizer = self.learn.opt.state_dict()
        checkpoint.save(self.folder, Checkpoint(self.weights(), optimizer, facts, live))
        with (self.folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
            writer: Any = csv.DictWriter(file, HISTORY_COLUMNS)
            writer.writeheader()
            writer.writerows(self.history)
        draw_curves(self.history, self.folder / "history.png")
        if self.board:
            self.board.epoch(row)
        self.log(
            f"epoch {row['epoch']}/{self.total_epochs} at {row['size_px']} px: "
            f"loss {row['train_loss']:.4f}, calibration loss {row['calibration_loss']:.4f}, "
            f"accuracy {row['calibration_accuracy']:.4f}, {row['seconds']:.0f} s"
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


def _silent(_: str) -> None:
    """Only process 0 prints messages."""
