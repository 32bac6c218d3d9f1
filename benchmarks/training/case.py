"""``python -m benchmarks.training.case JSON``: one case in its own process, as JSON.

Each case needs its own process, because a peak of memory cannot be reset.
"""

import json
import resource
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.training.stopwatch import First, Last, Marks
from training import recipe
from training.data.cache import CacheMode
from training.data.dataset import split
from training.data.stats import IMAGENET
from training.fit import precision
from training.fit.cached.keeping import CacheOptions, keep
from training.fit.seeding import seed_all, seed_loaders
from training.fit.train import Run

KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1


@dataclass(frozen=True)
class Case:
    """The measurement of one process: a number of steps at one size, without and with phases."""

    data: str
    recipe: str
    overrides: tuple[str, ...]
    size_px: int
    workers: int
    cache: CacheMode
    cache_folder: str
    threads: int
    warm_up: int
    steps: int


def measure(case: Case) -> dict[str, Any]:
    """Seconds of every step, the phases of every step of a second round, and peak memory."""
    if case.threads:
        torch.set_num_threads(case.threads)
    chosen = recipe.load(case.recipe, list(case.overrides))
    images = split(Path(case.data), chosen)
    options = CacheOptions(case.cache, Path(case.cache_folder))
    # The first case with a cache decodes the images. The clock is not running.
    kept, _ = keep(options, chosen, images, Path(case.data), None, _silent)
    available = len(images.train) // chosen.batch_images
    if available < case.warm_up + case.steps:
        raise SystemExit(
            f"{len(images.train)} training images make {available} batches of "
            f"{chosen.batch_images}; --warm-up and --steps ask for {case.warm_up + case.steps}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        # Statistics do not change the time of a step, so those of the recipe are not computed.
        run = Run(
            chosen, images, IMAGENET, Path(scratch), None, None, case.workers, _silent, kept=kept
        )
        rounds = [_round(run, case, phases) for phases in (False, True)]
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "case": asdict(case),
        "batch_images": chosen.batch_images,
        "arithmetic": precision.callbacks()[1],
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "step_s": [row[-1] for row in rounds[0]],
        "phases_s": rounds[1],
        "peak_mib": own * KIB_PER_UNIT / 1024,
        "gpu_peak_mib": torch.cuda.max_memory_reserved() / 2**20
        if torch.cuda.is_available()
        else None,
    }


def _round(run: Run, case: Case, phases: bool) -> list[list[float]]:
    learn: Any = run.learn
    learn.dls = run.loaders(case.size_px)
    seed_all(run.recipe.seed, 1)
    seed_loaders(learn.dls, run.recipe.seed, 0)
    marks = Marks(case.warm_up, case.steps, phases)
    fit = run.plan[0]
    learn.fit(1, lr=fit.lr, cbs=[*run.step_callbacks(fit), First(marks), Last(marks)])
    return marks.rows


def _silent(_: str) -> None:
    """The result is on stdout."""


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(measure(Case(**given | {"overrides": tuple(given["overrides"])}))))
