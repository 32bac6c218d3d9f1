"""Train one arm, and test its network."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.answers.images import with_wrong_labels
from benchmarks.answers.questions import Arm, Setting
from service.inference.predictor import Predictor
from service.package.manifest import InputSize
from training.data.dataset import Item, scan, split
from training.data.samples import sample, views
from training.data.stats import ChannelStats
from training.evaluation.methods import method_named
from training.evaluation.metrics import scores
from training.evaluation.predictions import predict
from training.export.export import export_package
from training.fit import precision
from training.fit.cached.keeping import CACHE_OFF, CacheOptions, keep
from training.fit.train import Run, channel_stats
from training.recipe import Recipe
from training.run import checkpoint
from training.run.checkpoint import Checkpoint

BATCH_VIEWS = 128


@dataclass(frozen=True)
class Answer:
    """The results of one arm with one seed."""

    top1: float
    """Share of right answers on the validation images."""
    nll: float
    train_seconds: float
    """Time of the epochs, with loading and the calibration images, without start-up."""


class Kept(Run):
    """A run that keeps its history in memory and writes nothing, because it takes only a minute."""

    def record(self, row: dict[str, Any]) -> None:
        self.history.append(row)


@dataclass(frozen=True)
class Trained:
    """A trained network, with everything that is needed to test it."""

    recipe: Recipe
    classes: tuple[str, ...]
    stats: ChannelStats
    weights: dict[str, torch.Tensor]
    seconds: float
    fingerprint: str


def train(
    arm: Arm,
    seed: int,
    data: Path,
    folder: Path,
    workers: int = 0,
    cache: CacheOptions = CACHE_OFF,
) -> Trained:
    """Train the arm, or find it trained in `folder`. For `cache` see `training.fit.cached`."""
    if (folder / checkpoint.STATE).exists():
        return _found(folder)
    recipe = arm.recipe(seed)
    images = split(data, recipe)
    fingerprint = images.fingerprint()
    if arm.wrong_labels:
        images = with_wrong_labels(images, arm.wrong_labels, seed)
    kept, decoded = keep(cache, recipe, images, data, None, _silent)
    stats = channel_stats(recipe, images, None, decoded)
    run = Kept(recipe, images, stats, folder, None, None, workers, _silent, None, kept)
    run.go()
    facts = {
        "format": 1,
        "recipe": recipe.to_json(),
        "classes": list(images.classes),
        "normalization": asdict(stats),
        "fingerprint": fingerprint,
        "finished": True,
        "precision": precision.callbacks()[1],
        "history": run.history,
    }
    checkpoint.save(folder, Checkpoint(run.weights(), {}, facts))
    return _found(folder)


def _found(folder: Path) -> Trained:
    state = checkpoint.load(folder)
    return Trained(
        Recipe.from_json(state.facts["recipe"]),
        tuple(state.facts["classes"]),
        ChannelStats.from_json(state.facts["normalization"]),
        state.weights,
        sum(row["seconds"] for row in state.facts["history"]),
        state.facts["fingerprint"],
    )


def ask(trained: Trained, arm: Arm, data: Path, folder: Path, setting: Setting) -> Answer:
    """The arm's answers for the validation images. torch computes them for a centre crop, and the
    code that serves computes them for TTA."""
    items = tuple(sample(scan(data / "val"), setting.validation_images, 0))
    if arm.method == "none":
        probabilities = _by_torch(trained, items)
        labels = np.array([trained.classes.index(item.label) for item in items])
    else:
        probabilities, labels = _by_serving(arm, items, data, folder)
    found = scores(probabilities, labels)
    return Answer(found.top1, found.nll, trained.seconds)


def _by_torch(trained: Trained, items: tuple[Item, ...]) -> NDArray[np.float64]:
    """float64[N, K] of the centre crops, cut as serving cuts them."""
    from training.network import architecture

    network = architecture.build(trained.recipe.architecture, len(trained.classes))
    network.load_state_dict(trained.weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1)
        for v in (trained.stats.mean, trained.stats.std)
    )
    crops = _centre_crops(items, trained.recipe.crop_px, trained.recipe.resize_px)
    answers: list[torch.Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(crops), BATCH_VIEWS):
            pixels = torch.from_numpy(crops[start : start + BATCH_VIEWS]).to(device)
            inputs = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
            answers.append(functional.softmax(network(inputs).double(), dim=1).cpu())
    return torch.cat(answers).numpy()


@cache
def _centre_crops(items: tuple[Item, ...], crop_px: int, resize_px: int) -> NDArray[np.uint8]:
    """uint8[N, S, S, 3]"""
    sizes = InputSize(crop_px=crop_px, resize_px=resize_px)
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(lambda item: next(views(item, sizes, ("none",))), items)))


def _by_serving(
    arm: Arm, items: tuple[Item, ...], data: Path, folder: Path
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    package = folder / "package"
    if not (package / "manifest.json").exists():
        shutil.rmtree(package, ignore_errors=True)
        export_package(folder, package, data, int8=False, log=_silent)
    predictor = Predictor.from_package(package, precision="fp32")
    got = predict(predictor, items, [method_named(arm.method)])
    return got.by_name[arm.method].probabilities, got.labels


def _silent(_: str) -> None:
    """Progress is printed by the benchmark."""
