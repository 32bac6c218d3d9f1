"""``python -m benchmarks.small_data --photos DATA``: how well few images are learned from.

Each case draws a small data set, trains as `quincunx train` does (without export and calibration),
and measures the network on 300 other images, one centre crop each. A recipe that continues from
other weights starts from --init, the shipped package unless another is named. Results are added to
docs/results/training/small/results.json, and report.md is written again from all of them.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.arguments import count, count_or_zero, folder_path, parser_of, run_benchmark
from benchmarks.small_data.tasks import DRAWN, drawn, some_of
from service.bench.report.compact import compact_json
from service.console.markdown import table
from training import recipe as recipes
from training.data.dataset import Split, split, validation
from training.data.samples import views
from training.data.stats import ChannelStats
from training.fit.train import train
from training.network import architecture
from training.recipe import AUTO, Recipe
from training.run import checkpoint
from training.start.auto import shipped
from training.start.begin import begin
from training.start.options import Options

OUT = Path("docs/results/training/small")
CLASSES, VAL_IMAGES = 4, 300
SPLITS = ("train", "val")
POOL = 500
KEYS = ("task", "images", "recipe", "seed")
Result = dict[str, Any]


def main() -> None:
    given = _arguments()
    torch.set_num_threads(given.threads)
    for recipe in given.recipe:
        for task in given.task:
            for images in given.images:
                for seed in given.seed:
                    _add(given.out, _measure(given, task, images, recipe, seed))


def _arguments() -> argparse.Namespace:
    parser = parser_of("small_data", __doc__)
    parser.add_argument(
        "--photos", type=folder_path, help="train/<class>/* and val/<class>/* of photos"
    )
    parser.add_argument(
        "--task", nargs="+", default=["photos"], choices=["photos", *DRAWN], help="what is learned"
    )
    parser.add_argument("--images", nargs="+", type=count, default=[180], help="training images")
    parser.add_argument("--recipe", nargs="+", default=[AUTO], help="recipes to compare")
    parser.add_argument(
        "--init", type=Path, help="weights for recipes that continue from a package or a run"
    )
    parser.add_argument(
        "--seed", nargs="+", type=count_or_zero, default=[1], help="one run for each"
    )
    parser.add_argument("--threads", type=count, default=1, help="of the arithmetic")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    given = parser.parse_args()
    if "photos" in given.task and given.photos is None:
        parser.error("--task photos needs --photos DATA")
    if given.photos is not None and not all((given.photos / one).is_dir() for one in SPLITS):
        parser.error(f"--photos {given.photos} must hold the folders {' and '.join(SPLITS)}")
    return given


def options_of(recipe: str, init: Path | None) -> Options:
    """The options of a case: a recipe that continues from other weights gets some."""
    continues = recipe != AUTO and recipes.load(recipe).normalization == "init"
    return Options(recipe, init=(init or shipped()) if continues else None)


def _measure(given: argparse.Namespace, task: str, images: int, recipe: str, seed: int) -> Result:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        data, source = Path(scratch) / "data", given.photos
        if task in DRAWN:
            source = Path(scratch) / "pool"
            drawn(source, DRAWN[task], train=POOL, val=VAL_IMAGES)
        classes = CLASSES if task == "photos" else len(DRAWN[task])
        some_of(source, data, classes=classes, train=images, val=VAL_IMAGES, seed=seed)
        beginning = begin(data, options_of(recipe, given.init), print)
        run = train(data, beginning.recipe, Path(scratch) / "run", initial=beginning.initial)
        state = checkpoint.load(run)
        trained = Recipe.from_json(state.facts["recipe"])
        return {
            "task": task,
            "images": images,
            "recipe": recipe,
            "seed": seed,
            "chosen": beginning.choice.recipe if beginning.choice else recipe,
            "started_from": (state.facts["started_from"] or {}).get("name"),
            "batch_images": trained.batch_images,
            "epochs": len(state.facts["history"]),
            "seconds": round(time.monotonic() - started),
            "accuracy": _accuracy(state, trained, split(data, trained), data),
        }


def _accuracy(state: checkpoint.Checkpoint, recipe: Recipe, images: Split, data: Path) -> float:
    """The share of right answers for the validation images."""
    network = architecture.build(recipe.architecture, len(images.classes))
    network.load_state_dict(state.weights)
    network.eval()
    stats = ChannelStats.from_json(state.facts["normalization"])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (stats.mean, stats.std))
    items, right = validation(data), 0
    with torch.inference_mode():
        for item in items:
            crop = np.stack(list(views(item, recipe.input_size(), ("none",))))
            pixels = (torch.from_numpy(crop).permute(0, 3, 1, 2).float() / 255 - mean) / std
            right += images.classes[int(network(pixels).argmax())] == item.label
    return round(right / len(items), 4)


def _add(out: Path, result: Result) -> None:
    """Put a result in the place of an older one of the same case, and write the report."""
    file = out / "results.json"
    results: list[Result] = json.loads(file.read_text()) if file.exists() else []
    results = [old for old in results if any(old[key] != result[key] for key in KEYS)]
    results = sorted([*results, result], key=lambda one: [one[key] for key in KEYS])
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(compact_json(results))
    (out / "report.md").write_text(report(results))
    print(result)


def report(results: Sequence[Result]) -> str:
    """The results as Markdown."""
    rows = [
        (
            one["task"],
            one["images"],
            one["recipe"],
            one["started_from"] or "scratch",
            one["batch_images"],
            one["epochs"],
            one["seed"],
            f"{one['accuracy']:.1%}",
        )
        for one in results
    ]
    columns = ["task", "images", "--recipe", "started from", "batch", "epochs", "seed", "accuracy"]
    return (
        "# Training on few images\n\n"
        f"Accuracy on {VAL_IMAGES} other images, one centre crop each. photos: {CLASSES} classes "
        "of Imagenette, drawn by the seed. The shipped package was trained on them, so starting "
        "from it is unfairly easy. shapes and textures are drawn, unlike anything that it knows. "
        "One run for each row: differences of a few points are chance.\n\n"
        f"`python -m benchmarks.small_data --photos DATA --task photos shapes textures`\n\n"
        f"{table(columns, rows)}\n"
    )


if __name__ == "__main__":
    run_benchmark(main)
