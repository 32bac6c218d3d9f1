"""The images of the trainings: shrunk once, and with labels made wrong on purpose."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from PIL import Image

from service.errors import ClientError
from service.inference.decode import decode
from service.inference.image.geometry import Size
from service.inference.image.views import resize, size_of
from training.data.dataset import Item, Split, scan

SHORTER_SIDE_PX = 160


def shrunk(data: Path, folder: Path, threads: int = 2) -> Path:
    """A copy of ``data/{train,val}`` whose images have a shorter side of 160 px, made once.

    This is like Imagenette-160. Loading a large photo would cost more time than training on it.
    Unreadable files are left out. Smaller images keep their size.
    """
    jobs: list[tuple[Item, Path]] = []
    for part in ("train", "val"):
        for item in scan(data / part):
            inside = item.path.relative_to(data).with_suffix("")
            jobs.append((item, folder / inside.parent / f"{inside.name}.jpg"))
    missing = [(item, target) for item, target in jobs if not target.exists()]
    for parent in {target.parent for _, target in missing}:
        parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda job: _shrink(*job), missing))
    return folder


def _shrink(item: Item, target: Path) -> None:
    try:
        pixels = decode(item.path.read_bytes())
    except (ClientError, OSError):
        return
    size = size_of(pixels)
    scale = min(1.0, SHORTER_SIDE_PX / min(size.height, size.width))
    small = resize(pixels, Size(round(size.height * scale), round(size.width * scale)))
    partial = target.with_suffix(".part")
    Image.fromarray(small).save(partial, "jpeg", quality=95, subsampling=0)
    partial.replace(target)


def with_wrong_labels(images: Split, share: float, seed: int) -> Split:
    """Give `share` of the training images another class's label, drawn uniformly and seeded.

    Calibration images and evaluated images keep their labels.
    """
    draw = random.Random(f"{seed}/wrong labels")
    count = round(share * len(images.train))
    chosen = set(draw.sample(range(len(images.train)), count))

    def other(label: str) -> str:
        return draw.choice([name for name in images.classes if name != label])

    train = tuple(
        replace(item, label=other(item.label)) if index in chosen else item
        for index, item in enumerate(images.train)
    )
    return replace(images, train=train)
