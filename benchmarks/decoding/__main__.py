"""python -m benchmarks.decoding: from the bytes of a JPEG to the views of the default mode.

Decoding `exact` and `scaled` take turns on one core with Pillow alone, which opens, decodes and
resizes the same file: no code of ours can be faster than that. `--base FOLDER` adds another
checkout of this repository, which runs in a process of its own and takes turns too. Times are
processor times of the thread that decodes, so that other work on the machine matters less. Writes
`docs/results/decoding.md` and `.json`.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.arguments import checkout_path, count, parser_of, run_benchmark
from benchmarks.pictures import RESULTS, image_size
from benchmarks.results import write_results
from benchmarks.turns import in_turns
from service.bench.environment import environment
from service.bench.image_size import ImageSize
from service.bench.photos import drawn
from service.bench.report.statistics import mean_interval, paired_ratio
from service.inference.decode import decode_image
from service.inference.image.geometry import Size, shorter_side
from service.inference.image.views import Pixels, size_of
from service.inference.tta.passes import View, make_views
from service.inference.tta.planner import Planner
from service.package.manifest import Decode, InputSize

SIZES = tuple(map(ImageSize.parse, ("224x224", "500x375", "4032x3024", "8064x6048")))
WARM_UP = 3
PIXELS_PER_CASE = 300_000_000
"""Rounds of a case: as many as decode about so many pixels, within `LEAST` and `MOST`."""
LEAST, MOST = 12, 300
OLD = Path(__file__).with_name("base.py")


def views(data: bytes, planner: Planner) -> list[View]:
    """The views of a file: what serving does before the network."""
    image = decode_image(data, least_size=planner.decoding())
    return make_views(image, planner.passes("five_crop", size_of(image)))


def pillow_alone(data: bytes, resize_px: int) -> Pixels:
    """Every pixel of a file, resized as for the views. Nothing is checked and no view is cut."""
    with Image.open(io.BytesIO(data)) as image:
        size = shorter_side(Size(image.height, image.width), resize_px)
        image.load()
        return np.asarray(image.resize((size.width, size.height), Image.Resampling.BILINEAR))


class Base:
    """Another checkout, in a process that decodes a file whenever it is told to."""

    def __init__(self, folder: Path, file: Path, sizes: InputSize) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, OLD, file, str(sizes.crop_px), str(sizes.resize_px)],
            env=os.environ | {"PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> "Base":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self) -> float:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the other checkout has no pipes")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    start = thread_time()
    work()
    return thread_time() - start


def apart(data: bytes, exact: Planner, scaled: Planner) -> float:
    """The mean difference of the views, in levels of 255."""
    pairs = zip(views(data, exact), views(data, scaled), strict=True)
    gaps = [np.abs(np.asarray(a.pixels, float) - np.asarray(b.pixels)).mean() for a, b in pairs]
    return float(np.mean(gaps))


def case(size: ImageSize, sizes: InputSize, base: Path | None, scratch: Path) -> dict[str, Any]:
    """Measure one size of photo."""
    files = drawn(size, seed=0, count=1).files
    (file := scratch / f"{size.in_file_names}.jpg").write_bytes(files[0])
    planners = {how: planner(sizes, how) for how in ("exact", "scaled")}
    with ExitStack() as stack:
        work: dict[str, Callable[[], float]] = {
            how: partial(timed, partial(views, files[0], one)) for how, one in planners.items()
        }
        work["Pillow alone"] = partial(timed, partial(pillow_alone, files[0], sizes.resize_px))
        if base:
            work["base"] = stack.enter_context(Base(base, file, sizes))
        times: dict[str, list[float]] = {name: [] for name in work}
        rounds = max(LEAST, min(MOST, PIXELS_PER_CASE // size.pixels))
        for number, name in in_turns(work, range(rounds + WARM_UP)):
            seconds = work[name]()
            if number >= WARM_UP:
                times[name].append(seconds * 1e3)
    against = "base" if base else "exact"
    return {
        "size": str(size),
        "kb": len(files[0]) // 1000,
        "rounds": rounds,
        "ms": {name: asdict(mean_interval(own)) for name, own in times.items()},
        "times_faster": {
            name: asdict(paired_ratio(times[against], times[name]))
            for name in times if name != against
        },
        "levels": apart(files[0], planners["exact"], planners["scaled"]),
    }  # fmt: skip


def planner(sizes: InputSize, how: Decode) -> Planner:
    """The plans of a package that decodes so."""
    return Planner(sizes.model_copy(update={"decode": how}))


def markdown(results: Sequence[dict[str, Any]], command: str, machine: str) -> str:
    """The table."""
    names = list(results[0]["ms"])
    ratios = list(results[0]["times_faster"])
    head = ["JPEG", "kB", *(f"{n}, ms" for n in names), *(f"{n}, times faster" for n in ratios)]
    lines = [[*head, "exact to scaled, levels"], ["---"] + ["--:"] * (len(head))]
    for one in results:
        lines.append([
            one["size"], str(one["kb"]),
            *(f"{one['ms'][n]['value']:.2f}" for n in names),
            *("{value:.2f} [{low:.2f}, {high:.2f}]".format(**one["times_faster"][n])
              for n in ratios),
            f"{one['levels']:.2f}",
        ])  # fmt: skip
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return (
        "# From the bytes of a JPEG to the views of `five_crop`\n\n"
        f"Command: `{command}`. Machine: {machine}. Processor time of one thread; all ways take "
        "turns; 95% intervals. `Pillow alone` opens, decodes and resizes the file and does nothing "
        "else, as `exact` at least must. `base` is the checkout that was given with `--base`; "
        "times faster are against `base`, or against `exact` without one. The last column is the "
        f"mean difference between the views of both ways of decoding.\n\n{table}\n"
    )


def main() -> None:
    parser = parser_of("decoding", __doc__)
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=image_size,
        default=SIZES,
        metavar="WIDTHxHEIGHT",
        help="of the drawn JPEGs",
    )
    parser.add_argument("--crop-px", type=count, default=160, help="side of a crop")
    parser.add_argument(
        "--resize-px", type=count, default=192, help="shorter side of the resized image"
    )
    parser.add_argument(
        "--base", type=checkout_path, help="folder of another checkout, to compare with"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS / "decoding",
        help="path of the results, without .md; by default docs/results/decoding",
    )
    options = parser.parse_args()
    if options.resize_px < options.crop_px:
        parser.error(f"--resize-px {options.resize_px} is less than --crop-px {options.crop_px}")
    sizes = InputSize(crop_px=options.crop_px, resize_px=options.resize_px)
    with tempfile.TemporaryDirectory() as scratch:
        results = [case(size, sizes, options.base, Path(scratch)) for size in options.sizes]
    machine = environment()
    command = "python -m benchmarks.decoding" + (" --base CHECKOUT" if options.base else "")
    table = markdown(results, command, f"{machine.cpu}, {machine.system}")
    write_results(options.out, {"environment": machine.model_dump(), "cases": results}, table)


if __name__ == "__main__":
    run_benchmark(main)
