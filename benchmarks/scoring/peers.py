"""The same images and model by other means: fastai's `learn.tta()`, a torch DataLoader loop.

Every contender reads files and ends with probabilities in memory; Quincunx also writes its rows.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.scoring.rate import items_of
from benchmarks.turns import in_turns
from service.bench.report.statistics import Interval, mean_interval, paired_ratio
from service.inference.predictor import Predictor
from service.inference.runtime.providers import choose, settings
from service.inference.tta.gate import gate_value
from service.inference.tta.steps import Options
from service.package.manifest import STRIDE_PX, Fit, Manifest, Mode, Precision
from service.package.package import ModelPackage
from service.scoring.options import ScoreOptions
from service.scoring.result.output import write_output
from service.scoring.run import Run
from service.scoring.sources import expand
from training.data.dataset import Item as Labelled
from training.data.dataset import scan, split
from training.fit.learner import learner
from training.fit.loaders import dataloaders
from training.network.initial_weights import load_matching, read_initial_weights
from training.recipe import Recipe

LOADER_BATCH_IMAGES = 16
UNLABELLED = -1
CASES: tuple[tuple[Mode, str], ...] = (
    ("five_crop", "auto"),
    ("five_crop", "fp32"),
    ("adaptive", "auto"),
    ("none", "auto"),
)
"""Modes and precisions in which the DataLoader loop runs too."""


@dataclass(frozen=True)
class Setting:
    """What is compared on what."""

    package: Path
    data: Path
    validation: Path
    images: int
    rounds: int
    workers: int
    photos: Path | None = None
    """Unlabelled photos of another size, on which the DataLoader loop runs too."""


@dataclass(frozen=True)
class Contender:
    """A loop over some images, and the one that its time is held against.

    `work` returns the share of right answers, None where nothing is labelled.
    """

    name: str
    base: str
    work: Callable[[], float | None]
    images: int


def compare(setting: Setting) -> list[dict[str, Any]]:
    """Seconds for each image and accuracy of every contender, run in turn."""
    contenders = _contenders(setting)
    seconds: dict[str, list[float]] = {one.name: [] for one in contenders}
    accuracy: dict[str, float | None] = {}
    for number, one in in_turns(contenders, range(setting.rounds + 1)):  # the first round warms up
        began = perf_counter()
        accuracy[one.name] = one.work()
        if number:
            seconds[one.name].append((perf_counter() - began) / one.images)
    rows: list[dict[str, Any]] = []
    for one in contenders:
        own = seconds[one.name]
        ratio = paired_ratio(own, seconds[one.base])
        rows.append(
            {
                "contender": one.name,
                "base": one.base,
                "images": one.images,
                "rounds": setting.rounds,
                "images_per_s": 1 / mean_interval(own).value,
                "top1": accuracy[one.name],
                "time_against_base": [ratio.value, ratio.low, ratio.high],
            }
        )
    return rows


def _contenders(setting: Setting) -> list[Contender]:
    chosen = random.Random(0).sample(scan(setting.validation), setting.images)
    chosen.sort(key=lambda item: item.path)
    served = Predictor.from_package(setting.package).precision
    made = _pairs(setting, served, chosen, "")
    for name, work in (
        (f"Quincunx dense {served}", _quincunx(setting, chosen, "dense", "auto")),
        ("fastai learn.tta(n=4), five passes", _fastai(setting, chosen)),
    ):
        made.append(Contender(name, made[0].name, work, len(chosen)))
    if setting.photos:
        paths = [item.path for _, item in islice(items_of(setting.photos), setting.images)]
        unlabelled = [Labelled(Path(path), "") for path in paths]
        made += _pairs(setting, served, unlabelled, f", {setting.photos.name}")
    return made


def _pairs(
    setting: Setting, served: Precision, items: list[Labelled], where: str
) -> list[Contender]:
    """Quincunx and, where it can, the DataLoader loop in each of `CASES`, held against it."""
    made: list[Contender] = []
    for mode, precision in CASES:
        what = f"{mode} {served if precision == 'auto' else precision}{where}"
        base, other = f"Quincunx {what}", f"DataLoader + ONNX Runtime {what}"
        made.append(Contender(base, base, _quincunx(setting, items, mode, precision), len(items)))
        loop = _loader(setting, items, mode, precision)
        if loop is not None:
            made.append(Contender(other, base, loop, len(items)))
    return made


def _quincunx(
    setting: Setting, items: list[Labelled], mode: Mode, precision: Any
) -> Callable[[], float | None]:
    predictor = Predictor.from_package(setting.package, precision=precision, threads=1)

    def work() -> float | None:
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder) / "list.txt"
            listed.write_text("".join(f"{item.path.absolute()}\n" for item in items))
            options = ScoreOptions(Options(tta=mode), top_k=1, all_probabilities=True)
            run = Run(expand([str(listed)]), predictor, options)
            summary = write_output(run, f"{folder}/out.parquet")
        accuracy = summary["accuracy"]
        return accuracy["top1"]["accuracy"] if accuracy else None

    return work


@dataclass(frozen=True)
class Cut:
    """Resize as the package does, then cut squares: the one in the middle, or all five."""

    resize_px: int
    crop_px: int
    five: bool = False
    fit: Fit = "shorter_side"

    def crops(self, image: Image.Image) -> np.ndarray:
        """uint8[V, S, S, 3]."""
        scale = self.resize_px / min(image.size)
        width, height = (max(self.resize_px, int(side * scale)) for side in image.size)
        if self.fit == "squash":
            width = height = self.resize_px
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        side = self.crop_px
        top, left = round((height - side) / 2), round((width - side) / 2)
        corners = [(0, 0), (0, width - side), (height - side, 0), (height - side, width - side)]
        places = [*corners, (top, left)] if self.five else [(top, left)]
        return np.stack([pixels[y : y + side, x : x + side] for y, x in places])


def _cuts(manifest: Manifest, mode: Mode, *, squares: bool) -> list[Cut] | None:
    """What a loader cuts for each pass of `mode`; None where a pass is not a square of one size.

    A loader's process knows no answer yet: for `adaptive` it cuts for both passes.
    """
    sizes = manifest.input
    fit = sizes.fit
    served = Cut(sizes.resize_px, sizes.crop_px, mode == "five_crop", fit)
    if mode != "adaptive":
        return [served]
    passes = manifest.adaptive
    if passes is None or passes.first_crop_px is None:
        return None
    first = Cut(passes.first_px, passes.first_crop_px, fit=fit)
    if passes.second == "none":
        return [first, served]
    # Between the windows of such a map lies one position, so they are five sums.
    one_apart = sizes.resize_px == sizes.crop_px + STRIDE_PX
    if passes.second == "dense" and (squares or fit == "squash") and one_apart:
        return [first, Cut(sizes.resize_px, sizes.resize_px, fit=fit)]
    return None


def _five_windows(class_map: torch.Tensor) -> torch.Tensor:
    """(N, K, n + 1, n + 1) -> (N, 5, K): logits of the four n×n corners and of the middle."""
    start = torch.ones(class_map.shape[-1])
    start[-1] = 0
    end, middle = start.flip(0), (start + start.flip(0)) / 2
    ends = [(start, start), (start, end), (end, start), (end, end), (middle, middle)]
    weights = torch.stack([torch.outer(y, x) for y, x in ends]) / start.sum() ** 2
    return torch.einsum("nkyx,vyx->nvk", class_map, weights)


class _Crops(Dataset[tuple[list[np.ndarray], int]]):
    """What one writes in five minutes: open, resize, cut."""

    def __init__(self, items: list[Labelled], ids: list[str], cuts: list[Cut]) -> None:
        self._cuts = cuts
        self._items = [
            (item.path, ids.index(item.label) if item.label else UNLABELLED) for item in items
        ]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> tuple[list[np.ndarray], int]:
        path, label = self._items[number]
        with Image.open(path) as file:
            image = file.convert("RGB")
        return [cut.crops(image) for cut in self._cuts], label


def _loader(
    setting: Setting, items: list[Labelled], mode: Mode, precision: Any
) -> Callable[[], float | None] | None:
    predictor = Predictor.from_package(setting.package, precision=precision)
    manifest = predictor.manifest
    cuts = _cuts(manifest, mode, squares=bool(items[0].label))
    if cuts is None:
        return None
    session = ort.InferenceSession(
        predictor.package.path(predictor.precision),
        providers=[name for name, _ in settings(choose("auto"))],
    )
    data = _Crops(items, [label.id for label in manifest.labels], cuts)

    def run(crops: torch.Tensor, output: str = "logits") -> torch.Tensor:
        return torch.from_numpy(session.run([output], {"images": crops.numpy()})[0])

    def each(crops: torch.Tensor) -> torch.Tensor:
        """(N, V, S, S, 3) -> probabilities (N, K), the mean over the crops."""
        count, views = crops.shape[:2]
        return run(crops.flatten(0, 1)).softmax(1).view(count, views, -1).mean(1)

    def unsure_again(first_crops: torch.Tensor, second_crops: torch.Tensor) -> torch.Tensor:
        """Both passes count where the gate is open, as calibration found."""
        gate, fitted = predictor.model.gate(None), predictor.model.calibration("adaptive")
        first = run(first_crops[:, 0])
        probabilities = first.softmax(1)
        unsure = torch.from_numpy(gate_value(first.numpy(), gate.kind) < gate.threshold)
        if unsure.any():
            share = fitted.second_share
            crops = second_crops[unsure]
            if dense:
                second = _five_windows(run(crops[:, 0], "class_map")).softmax(2).mean(1)
            else:
                second = each(crops)
            probabilities[unsure] = share * second + (1 - share) * probabilities[unsure]
        return probabilities

    dense = cuts[-1].crop_px > manifest.input.crop_px
    answer = unsure_again if mode == "adaptive" else each

    def work() -> float | None:
        loader = DataLoader(data, LOADER_BATCH_IMAGES, num_workers=setting.workers)
        right = 0
        for crops, labels in loader:  # for each pass (N, V, S, S, 3); (N,)
            right += int((answer(*crops).argmax(1) == labels).sum())
        return right / len(data) if items[0].label else None

    return work


def _fastai(setting: Setting, items: list[Labelled]) -> Callable[[], float]:
    manifest = ModelPackage.load(setting.package).manifest
    initial = read_initial_weights(setting.package)
    recipe = Recipe.from_json(manifest.provenance["recipe"])
    images = split(setting.data, recipe)
    # Crops as all others have them, whatever the recipe trained on.
    dls = dataloaders(images, recipe, manifest.input.crop_px, initial.stats)
    learn: Any = learner(recipe, dls, len(manifest.labels), pretrained=False)
    load_matching(learn.model, initial.weights)
    data = learn.dls.test_dl(items, with_labels=True, num_workers=setting.workers)

    def work() -> float:
        with learn.no_bar(), learn.no_logging():
            probabilities, labels = learn.tta(dl=data, n=4)
        return float((probabilities.argmax(1) == labels.flatten()).float().mean())

    return work


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """A table; a factor above 1 is slower than the row it names."""
    lines = [
        "| contender | images/s | top-1 | × the time (95%) | of |",
        "|---|--:|--:|--:|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['contender']} | {row['images_per_s']:.1f} | {_share(row['top1'])} "
            f"| {Interval(*row['time_against_base'])} | {row['base']} |"
        )
    return lines


def _share(of_one: float | None) -> str:
    return "unlabelled" if of_one is None else f"{of_one:.2%}"
