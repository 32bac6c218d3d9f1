"""What a benchmark runs on: the options that all benchmarks share."""

import argparse
from pathlib import Path

from service.bench.image_size import PHONE, STANDARD, ImageSize
from service.bench.photos import Photos, photos
from service.errors import UsageError

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --images FOLDER and --image-size WIDTHxHEIGHT."""
    parser.add_argument(
        "--images", type=Path, help="a folder of photos; by default JPEGs are drawn"
    )
    add_image_size(
        parser,
        f"size of the drawn JPEGs, by default {STANDARD.in_file_names}; photos of --images are "
        "enlarged to it",
    )


def add_image_size(parser: argparse.ArgumentParser, about: str) -> None:
    """Add --image-size alone; `about` begins its help."""
    parser.add_argument(
        "--image-size", type=image_size, metavar="WIDTHxHEIGHT",
        help=f"{about}; {PHONE.in_file_names} is a photo of a phone",
    )  # fmt: skip


def image_size(text: str) -> ImageSize:
    """Read a size for argparse, which shows its own kind of error."""
    try:
        return ImageSize.parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def pictures(given: argparse.Namespace) -> Photos:
    """The images that the options name. Raises SystemExit with the reason where there are none."""
    try:
        return photos(given.images, given.image_size, seed=0)
    except UsageError as error:
        raise SystemExit(str(error)) from error


def described(folder: Path) -> str:
    """A folder's name, and what a sample of its images is."""
    return f"{folder.name}; a sample of it: {photos(folder, None, seed=0).description}"


def results(given: argparse.Namespace) -> Path:
    """Where results go: --out, or docs/results, or a folder in it that names the images.

    `4032x3024` has results of drawn images, `4032x3024-photos` those of --images, enlarged to this
    size. So results of photos never replace results of drawn images of the same size.
    """
    if given.out is not None:
        return Path(given.out)
    size: ImageSize | None = given.image_size
    if size is not None and getattr(given, "images", None) is not None:
        return RESULTS / f"{size.in_file_names}-photos"
    return RESULTS if size in (None, STANDARD) else RESULTS / size.in_file_names
