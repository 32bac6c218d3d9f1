"""python -m benchmarks.decoding.agreement PACKAGE FOLDER: does scaled decoding change answers?

Photos of FOLDER are enlarged, so that they are scaled down while they are decoded, and classified
twice: with every pixel decoded, and as the package decodes. Writes
`docs/results/decoding-agreement.md`.
"""

import io
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from benchmarks.arguments import command_line, parser_of
from benchmarks.decoding.__main__ import apart
from benchmarks.pictures import RESULTS
from service.bench.environment import environment
from service.inference.decode import decode
from service.inference.image.geometry import Size, shorter_side
from service.inference.image.views import Pixels
from service.inference.predictor import Predictor
from service.inference.tta.planner import Planner
from service.package.manifest import Manifest, Precision
from service.package.package import ModelPackage

Compared = Literal["none", "five_crop", "dense", "adaptive"]
MODES: tuple[Compared, ...] = get_args(Compared)


@dataclass
class Agreement:
    """Of one size, precision and mode: images with the same class, and what differs."""

    same: int = 0
    differences: list[float] = field(default_factory=list[float])
    """Of the probability of the class that exact decoding answers."""


def enlarged(path: Path, side_px: int) -> bytes:
    """A JPEG of quality 90 whose shorter side has `side_px`."""
    pixels = Image.fromarray(decode(path.read_bytes()))
    size = shorter_side(Size(pixels.height, pixels.width), side_px)
    file = io.BytesIO()
    large = pixels.resize((size.width, size.height), Image.Resampling.BICUBIC)
    large.save(file, "JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    parser = parser_of("decoding.agreement", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument("folder", type=Path, help="a folder of JPEGs")
    parser.add_argument(
        "--sides",
        type=int,
        nargs="+",
        default=[1568, 2316],
        metavar="PX",
        help="shorter sides that the photos are enlarged to",
    )
    parser.add_argument("--images", type=int, default=150, help="how many photos")
    parser.add_argument("--out", type=Path, default=RESULTS / "decoding-agreement.md")
    arguments = parser.parse_args()
    paths = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    chosen = random.Random(0).sample(paths, min(arguments.images, len(paths)))
    open_in: dict[Precision, Predictor] = {
        precision: Predictor.from_package(arguments.package, precision=precision, provider="cpu")
        for precision in ModelPackage.load(arguments.package).precisions
    }
    first = next(iter(open_in.values()))
    sizes = first.manifest.input
    if sizes.decode != "scaled":
        sys.exit(f"{arguments.package} decodes {sizes.decode}: nothing is scaled")
    exact = Planner(sizes.model_copy(update={"decode": "exact"}))
    rows: list[str] = []
    for side_px in arguments.sides:
        found: dict[tuple[Precision, Compared], Agreement] = {
            (p, m): Agreement() for p in open_in for m in MODES
        }
        levels: list[float] = []
        for number, path in enumerate(chosen, 1):
            data = enlarged(path, side_px)
            levels.append(apart(data, exact, Planner(sizes)))
            every_pixel = decode(data)
            for (precision, mode), one in found.items():
                compare(open_in[precision], data, every_pixel, mode, one)
            print(f"\r{side_px} px: {number} of {len(chosen)} images", end="", file=sys.stderr)
        print(file=sys.stderr)
        rows += [
            f"| {side_px} | {np.mean(levels):.2f} | {precision} | `{mode}` | {one.same} of "
            f"{len(chosen)} | {np.mean(one.differences):.4f} | {np.max(one.differences):.3f} |"
            for (precision, mode), one in found.items()
        ]
    arguments.out.write_text(page(first.manifest, rows, len(chosen)), encoding="utf-8")
    print(arguments.out)


def compare(
    predictor: Predictor, data: bytes, every_pixel: Pixels, mode: Compared, into: Agreement
) -> None:
    """Classify a file with `every_pixel` of it, and as the package decodes it."""
    whole = predictor.classify([every_pixel], mode)[0]
    own = predictor.classify([data], mode)[0]
    index = whole.top[0].index
    before, after = whole.answer.probabilities[index], own.answer.probabilities[index]
    into.same += whole.label == own.label
    into.differences.append(abs(float(before) - float(after)))


def page(manifest: Manifest, rows: list[str], images: int) -> str:
    """The result as Markdown."""
    machine = environment()
    command = command_line("decoding.agreement")
    return "\n".join(
        [
            "# Scaled decoding: agreement with exact decoding",
            "",
            f"Made by `{command}` with {manifest.name}@{manifest.version} on {machine.cpu}, "
            f"{machine.cores} cores, {machine.taken_at}. {images} images, enlarged to the size of "
            f"a phone's photo; `decode_factor` {manifest.input.decode_factor}. Enlarged images "
            "are a substitute: no real photo of 2 MP or more was at hand.",
            "",
            "| shorter side, px | difference of views, levels of 255 | precision | mode "
            "| same class | mean difference of its probability | largest |",
            "|--:|--:|---|---|--:|--:|--:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
