"""The last lines of `quincunx train`: the accuracy on val/, and what to do with the package."""

import shlex
from collections.abc import Callable
from pathlib import Path

from service.errors import DataError
from service.inference.tta.task import TASKS
from service.package.package import ModelPackage
from training.data.class_folders import validation_folder
from training.data.content.sketch import trained_on
from training.data.dataset import validation
from training.data.flat_folder import is_flat
from training.data.table import is_table
from training.task import TRAINING_TASKS


def report_accuracy(package: Path, data: Path, log: Callable[[str], None]) -> None:
    """Measure the package on the validation images of `data`, as it is served on a CPU.

    Data without validation images, or with ones that cannot be measured, get a message.
    """
    if not is_table(data) and not is_flat(data) and not validation_folder(data).is_dir():
        log(
            f"accuracy not measured: {data} has no val/. Move about a fifth of the images of each "
            "class there before the next training"
        )
        return
    loaded = ModelPackage.load(package)
    manifest = loaded.manifest
    task = TRAINING_TASKS[manifest.task]
    try:
        items = validation(data, manifest)
        if known := trained_on(manifest.provenance, [item.path for item in items]):
            log(
                f"warning: {manifest.name}, or the weights that it started from, was trained on "
                f"{known}: the accuracy is too good. Remove these copies from one of the two parts"
            )
        log(f"measuring the package on {len(items)} validation images")
        mode, precision = manifest.default_mode, loaded.served_precision()
        measured = task.evaluate(package, items, [mode], [precision])
    except DataError as error:
        log(f"accuracy not measured: {error}")
        return
    for line in measured.left_out.lines():
        log(line)
    single = TASKS[manifest.task].one_is_true
    name, key = ("accuracy", "top1") if single else ("mean average precision", "map")
    (facts,) = task.as_json(measured)
    low, high = facts[f"{key}_interval"]
    log(
        f"{name} on {facts['images']} validation images: {facts[key]:.1%} "
        f"(95% interval {low:.1%} to {high:.1%}; mode {mode}, {precision})"
    )


def next_commands(package: Path, data: Path) -> list[str]:
    """Lines with three commands that use the package."""
    own, images = shlex.quote(str(package)), shlex.quote(str(data))
    report = shlex.quote(f"reports/{package.name}")
    return [
        "next:",
        f"  quincunx classify PHOTO --model {own}",
        f"  quincunx evaluate {own} {images} --report {report}",
        f"  quincunx serve {own}",
    ]
