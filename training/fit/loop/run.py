"""A run: the fits of a recipe, one after the other, with one network and one history."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device, get_model, to_device
from rich.progress import Progress

from service.errors import QuincunxError, UsageError
from training.data.content.sketch import Sketch
from training.data.dataset import Split
from training.data.stats import ChannelStats
from training.fit import distributed, precision
from training.fit.cached.keeping import Kept
from training.fit.cached.loaders import cached_loaders
from training.fit.learner import learner
from training.fit.loaders import dataloaders
from training.fit.loop.each_epoch import EachEpoch
from training.fit.loop.ema import WeightAverage
from training.fit.loop.time_plan import TimePlan
from training.fit.schedule import Fit, fits, scheduler
from training.fit.seeding import seed_all
from training.network.backbone import head_names
from training.network.initial_weights import InitialWeights, load_matching
from training.recipe import Recipe
from training.run import checkpoint
from training.run.checkpoint import Checkpoint
from training.run.curves import draw_curves
from training.run.progress import progress_bar
from training.run.tensorboard import TensorBoardLogger

MOST_EPOCHS = 10**6
"""Epochs of a fit that a plan for a time will end."""
FASTAI_PREFIX_END = ":\n\t"
"""fastai puts the name of its callback in front of the message of an error, up to here."""
HISTORY_COLUMNS = (
    "epoch", "size_px", "lr", "train_loss", "calibration_loss", "calibration_accuracy", "seconds",
)  # fmt: skip


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
        plan: TimePlan | None = None,
        extra: Sequence[Callback] = (),
        teacher: dict[str, Any] | None = None,
    ) -> None:
        """`extra` are more callbacks of every step; `teacher` are the facts about a teacher."""
        self.recipe, self.images, self.stats = recipe, images, stats
        self.folder, self.workers, self.log, self.board = folder, workers, log, board
        self.kept, self.pixels = kept, kept.open(images, log) if kept else None
        # A process loads its share of a batch at once.
        self.loaded = replace(recipe, batch_images=distributed.share_of_batch(recipe.batch_images))
        self.history: list[dict[str, Any]] = state.facts["history"] if state else []
        self.extra, self.teacher = list(extra), teacher
        self.plan, self.time_plan = fits(recipe.stages), plan
        if plan:  # it ends the only fit
            self.plan = [replace(self.plan[0], epochs=MOST_EPOCHS)]
        self.pretrained = state.facts.get("pretrained", False) if state else initial is not None
        kind = recipe.architecture
        if kind.is_backbone and not (state or initial):
            raise UsageError(
                f"{kind.name} is trained by quincunx train --backbone {kind.name}, which reads its "
                "pretrained weights"
            )
        began = initial.source if initial else None
        self.started_from = state.facts.get("started_from") if state else began
        seed_all(recipe.seed, 0)
        first_px = recipe.stages[0].size_at(0)
        loaders = self.loaders(plan.size_px() if plan else first_px)
        self.learn: Any = learner(
            recipe, loaders, len(images.classes), self.pretrained, images.task
        )
        if initial is not None and state is None:
            head = head_names(kind.name) if kind.is_backbone else None
            untrained = load_matching(self.learn.model, initial.weights, head)
            new = f"; these begin at random: {', '.join(untrained)}" if untrained else ""
            log(f"started from the given weights{new}")
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
            f"images, {len(self.images.classes)} classes; {self.total_epochs} "
            f"epoch{'s' * (self.total_epochs != 1)}"
            + (f" of a plan for {self.time_plan.minutes:g} minutes" if self.time_plan else "")
            + f" in {arithmetic}"
            + (f", continuing after epoch {done}" if done else "")
        )
        if self.board:
            self.board.open(done * self.batches)
        first = 0
        with progress_bar(distributed.is_main()) as bar, distributed.spread(self.learn):
            for fit in self.plan:
                if done < first + fit.epochs and not self.finished:
                    self.fit(fit, first, max(0, done - first), bar)
                first += fit.epochs
        if self.time_plan and (late := self.time_plan.overrun()):
            self.log(late)

    @property
    def total_epochs(self) -> int:
        """Epochs of all fits; with a plan for a time, as many as are planned now."""
        return self.time_plan.epochs if self.time_plan else sum(fit.epochs for fit in self.plan)

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done."""
        if self.time_plan:
            return self.time_plan.complete
        return len(self.history) == self.total_epochs

    def plan_on(self) -> None:
        """An epoch ended: plan the next ones, in all processes alike."""
        if plan := self.time_plan:

            def planned() -> tuple[list[float], int]:
                plan.end_epoch()
                return plan.positions, plan.epochs

            plan.positions, plan.epochs = distributed.from_main(planned)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The contents of the training images, for runs that start from these weights."""
        return Sketch.of(item.path for item in self.images.train).to_json()

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
        try:
            self.learn.fit(
                fit.epochs,
                lr=fit.lr,
                cbs=[*self.step_callbacks(fit), EachEpoch(self, fit, first, start, bar)],
                start_epoch=start,
            )
        except QuincunxError as error:
            error.args = (str(error).rpartition(FASTAI_PREFIX_END)[2],)
            raise

    def step_callbacks(self, fit: Fit) -> list[Callback]:
        """The callbacks that work in every step of a fit, beside those of the learner."""
        at = self.time_plan.at if self.time_plan else None
        averages = [self.average] if self.average else []
        return [scheduler(self.learn, fit, at), *averages, *self.extra]

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights to export: the average, if the recipe has one."""
        model = get_model(self.learn.model)
        return self.average.averaged(model) if self.average else model.state_dict()

    def record(self, row: dict[str, Any]) -> None:
        """Append an epoch to the history, and write a checkpoint if one is due."""
        self.history.append(row)
        if not distributed.is_main():
            return
        if len(self.history) % self.recipe.checkpoint_epochs == 0 or self.finished:
            self.save()
        if self.board:
            self.board.epoch(row)
        self.log(
            f"epoch {row['epoch']}/{self.total_epochs} at {row['size_px']} px: "
            f"loss {row['train_loss']:.4f}, calibration loss {row['calibration_loss']:.4f}, "
            f"calibration accuracy {row['calibration_accuracy']:.4f}, {row['seconds']:.0f} s"
        )

    def save(self) -> None:
        """Write the checkpoint, the history and its curves."""
        facts = {
            "format": 1,
            "recipe": self.recipe.to_json(),
            "classes": list(self.images.classes),
            "task": self.images.task,
            "normalization": asdict(self.stats),
            "fingerprint": self.images.fingerprint(),
            "content": self.content,
            "pretrained": self.pretrained,
            "started_from": self.started_from,
            "teacher": self.teacher,
            "finished": self.finished,
            "plan": self.time_plan.to_json() if self.time_plan else None,
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
