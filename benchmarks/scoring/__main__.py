"""``python -m benchmarks.scoring WHAT PACKAGE …``: offline scoring, measured.

    rate PACKAGE --photos FOLDER...          the pipeline against decoding and inference alone
    base PACKAGE --base CHECKOUT             against another checkout, which has its own PACKAGE
    peers PACKAGE --data FOLDER              against fastai's tta and a torch DataLoader loop;
                                             with --photos also on unlabelled photos of another size
    memory PACKAGE --photos FOLDER           peak memory, 10,000 images against 200,000
    kills PACKAGE --photos FOLDER            killed again and again, over every source and sink;
                                             FOLDER holds a folder of images for each label

Without --photos, or beside them, --image-size draws JPEGs: 4032x3024 is a photo of a phone.

Contenders take turns in an order drawn anew each round; factors carry bootstrap intervals. Each
writes docs/results/scoring-<what>.json and .md.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.arguments import (
    MODES,
    PRECISIONS,
    checkout_path,
    command_line,
    count,
    count_or_zero,
    folder_path,
    parser_of,
    run_benchmark,
)
from benchmarks.pictures import add_image_size, described, results
from benchmarks.results import write_results
from service.bench.environment import environment
from service.bench.photos import drawn_folder

TITLES = {
    "rate": "Offline scoring against its own stages",
    "base": "Offline scoring against an earlier version",
    "peers": "Offline scoring against other loops",
    "memory": "Memory of offline scoring",
    "kills": "Offline scoring, killed again and again",
}
NOTES = {
    "rate": "Decoding is reading, decoding, resizing and cutting; each stage alone has the threads "
    "that it has in the pipeline. Where the cores are divided, the slower stage alone is the "
    "limit. Where both stages have all of them, they can do no better together than one after the "
    "other (the last column, where 1 is all that the cores can do).",
    "base": "Whole processes of both versions take turns. Milliseconds are for each image, without "
    "the start: a short list is subtracted from a long one. Memory is the peak of the process with "
    "the long list.",
    "peers": "Every contender reads the same files with as many workers or threads; Quincunx also "
    "writes Parquet. A loop is held against Quincunx in the same mode and precision, fastai's five "
    "passes, which are its random augmentations, against exact int8 five-crop.",
    "kills": "Each run is ended by SIGKILL at a random moment and started again with the same "
    "command, so many times, and then left alone. Its result is compared, byte by byte, with that "
    "of a run that nobody stopped. A chunk has 8 images here, and is made durable at once.",
    "memory": "Peak resident memory of the whole process, as the kernel counts it.",
}


def main() -> None:
    given = _arguments()
    with ExitStack() as stack:
        if given.image_size is not None:
            given.photos = [*given.photos, stack.enter_context(drawn_folder(given.image_size))]
        images = [described(folder) for folder in given.photos]
        measured, lines = _measured(given)
    command = command_line("scoring")
    machine = environment().model_dump(mode="json")
    content = {"command": command, "environment": machine, "images": images, "results": measured}
    head = [f"# {TITLES[given.what]}", "", f"`{command}`", ""]
    about = f"{machine['taken_at']}, {machine['cpu']}, {machine['cores']} cores."
    about = f"{about} {NOTES[given.what]}"
    listed = [*(f"- {line}" for line in images), ""] if images else []
    text = "\n".join([*head, about, "", *listed, *lines]) + "\n"
    write_results(results(given) / f"scoring-{given.what}", content, text)


def _measured(given: argparse.Namespace) -> tuple[Any, list[str]]:
    if given.what == "rate":
        return _rate(given)
    if given.what == "base":
        return _base(given)
    if given.what == "peers":
        return _peers(given)
    if given.what == "kills":
        return _kills(given)
    return _memory(given)


def _rate(given: argparse.Namespace) -> tuple[Any, list[str]]:
    from benchmarks.scoring import rate
    from service.inference.predictor import Predictor

    predictor = Predictor.from_package(given.package, precision=given.precision, threads=1)
    rows = [
        rate.rates(
            predictor,
            mode,
            folder,
            rate.as_many(predictor, mode, given.images),
            given.rounds,
            cores,
        )
        for cores in rate.divisions()
        for folder in given.photos
        for mode in given.modes
    ]
    return rows, rate.markdown(rows)


def _base(given: argparse.Namespace) -> tuple[Any, list[str]]:
    from benchmarks.scoring import base

    rows = [
        base.compare(given.package, given.base, folder, mode, given.images, given.rounds)
        for folder in given.photos
        for mode in given.modes
    ]
    return rows, base.markdown(rows)


def _peers(given: argparse.Namespace) -> tuple[Any, list[str]]:
    from benchmarks.scoring import peers

    setting = peers.Setting(
        given.package,
        given.data,
        given.data / "val",
        given.images,
        given.rounds,
        given.workers,
        given.photos[0] if given.photos else None,
    )
    rows = peers.compare(setting)
    return rows, peers.markdown(rows)


def _memory(given: argparse.Namespace) -> tuple[Any, list[str]]:
    from benchmarks.scoring import memory

    (folder,) = given.photos
    result = memory.peaks(given.package, folder, given.sizes, given.modes[0], given.repeats)
    return result, memory.markdown(result)


def _kills(given: argparse.Namespace) -> tuple[Any, list[str]]:
    from benchmarks.scoring import kills

    (folder,) = given.photos
    rows = kills.stops(given.package, folder, given.kills)
    return rows, kills.markdown(rows)


def _arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of("scoring", __doc__)
    parser.add_argument("what", choices=list(TITLES), help="see above")
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument(
        "--photos", type=folder_path, nargs="+", default=[], help="folders of photos"
    )
    add_image_size(parser, "also use drawn JPEGs of this size")
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=MODES,
        default=["five_crop", "dense", "none"],
        help="modes of TTA",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the graph")
    parser.add_argument(
        "--images",
        type=count,
        default=512,
        help="rate, base: how many images; rate takes fewer in modes that cost more",
    )
    parser.add_argument("--rounds", type=count, default=20, help="rounds in which all take turns")
    parser.add_argument("--base", type=checkout_path, help="base: folder of the other checkout")
    parser.add_argument("--data", type=folder_path, help="peers: a folder with train/ and val/")
    parser.add_argument(
        "--workers", type=count_or_zero, default=2, help="peers: processes of the data loaders"
    )
    parser.add_argument(
        "--sizes",
        type=count,
        nargs="+",
        default=[10_000, 200_000],
        help="memory: numbers of images",
    )
    parser.add_argument("--repeats", type=count, default=1, help="memory: runs of each size")
    parser.add_argument(
        "--kills",
        type=count,
        default=20,
        help="kills: how many for each kind of source and of result",
    )
    parser.add_argument("--out", type=Path, help="by default docs/results")
    given = parser.parse_args(arguments)
    sources = len(given.photos) + (given.image_size is not None)
    if given.what == "kills" and given.image_size is not None:
        parser.error("kills needs photos with labels, which are not drawn: it takes --photos only")
    if given.what in ("rate", "base") and not sources:
        parser.error(f"{given.what} needs --photos FOLDER... or --image-size")
    if given.what == "base" and given.base is None:
        parser.error("base needs --base CHECKOUT")
    if given.what in ("memory", "kills") and sources != 1:
        parser.error(f"{given.what} needs one folder of photos, but got {sources}")
    if given.what == "peers" and sources > 1:
        parser.error(f"peers takes one folder of photos beside --data, but got {sources}")
    if given.what == "peers" and given.data is None:
        parser.error("peers needs --data FOLDER")
    return given


if __name__ == "__main__":
    run_benchmark(main)
