"""Whether a run keeps its decoded images, and where: `quincunx train --cache`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from service.errors import DataError, UsageError
from training.data.cache import CacheMode, entry
from training.data.cache.build import Cache
from training.data.cache.cache_folder import FOLDER, GIB, LIMIT_GIB, size_text
from training.data.cache.entry import CachedPixels
from training.data.cache.storing import Storing
from training.data.dataset import Split
from training.fit.cached.sources import DevicePixels, FilePixels, PixelSource
from training.recipe import Recipe

DEVICE_SHARE = 0.6
"""The largest share of the free GPU memory that images may take. The rest is for training."""
LARGE_PIXELS = 1_000_000
"""On a CPU `auto` keeps images whose files have at least this many pixels: decoding them takes
longer than everything else that is done to load them. A rule that measures time would choose by
chance."""
LEAST_MIN_SCALE = 0.08
LEAST_PX = 32


@dataclass(frozen=True)
class CacheOptions:
    """The options of the command line. `px`: shorter side of stored images; 0: the recipe's."""

    mode: CacheMode = "off"
    folder: Path = FOLDER
    limit_gib: float = LIMIT_GIB
    px: int = 0

    def __post_init__(self) -> None:
        if self.px and self.px < LEAST_PX:
            raise UsageError(f"--cache-px must be 0 or at least {LEAST_PX}, but got {self.px}")


CACHE_OFF = CacheOptions()


@dataclass(frozen=True)
class Kept:
    """Where a run keeps its images. It can be sent to other processes."""

    where: Literal["device", "memory"]
    cache: Cache
    entry: Path
    data: str

    def open(self, images: Split, log: Callable[[str], None]) -> PixelSource:
        """The pixels, for this process and its device."""
        pixels = entry.read(self.entry)
        if pixels is None:  # on another machine
            paths = images.paths()
            pixels = self.cache.existing(paths) or self.cache.build(paths, self.data, log)
        kind = DevicePixels if self.where == "device" else FilePixels
        return kind(pixels, _device())

    def facts(self) -> dict[str, Any]:
        """What a checkpoint notes, for the run that resumes it."""
        return {"shorter_px": self.cache.storing.shorter_px}


def keep(
    options: CacheOptions,
    recipe: Recipe,
    images: Split,
    data: Path,
    facts: dict[str, Any] | None,
    log: Callable[[str], None],
) -> tuple[Kept | None, CachedPixels | None]:
    """Choose where the images are kept, and decode them, unless an earlier run has done it.

    `facts` are those of the checkpoint that is resumed. A resumed run keeps its images as before,
    so that it draws the same crops.

    Raises:
        UsageError: images are to be kept on a GPU and there is none.
        DataError: they do not fit where they are to be kept.
    """
    options = _resumed(options, facts, log)
    on_gpu = _device().type == "cuda"
    if options.mode == "device" and not on_gpu:
        raise UsageError(
            "--cache device keeps images in GPU memory, but there is no CUDA device here: use "
            "--cache memory"
        )
    if options.mode == "off":
        return None, None
    cache = Cache(storing(recipe, options.px), options.folder, int(options.limit_gib * GIB))
    paths = images.paths()
    found = cache.existing(paths)
    needed = found or cache.estimate(paths)
    if options.mode == "auto" and not on_gpu and needed.pixels_of_file < LARGE_PIXELS:
        return None, None
    where, why = _choice(options, needed.nbytes) if on_gpu else ("memory", "")
    if found is None:
        try:
            found = cache.build(paths, str(data), log)
        except DataError as error:
            if options.mode != "auto":
                raise
            log(f"every epoch decodes the files: {error}")
            return None, None
        log(f"decoded {len(found)} images once, {cache.storing}: {found.folder}")
    else:
        log(f"{len(found)} images were decoded by an earlier run: {found.folder}")
    place = "GPU memory" if where == "device" else "a memory-mapped file"
    log(f"images are kept in {place}, {size_text(found.nbytes)}{why} (--cache)")
    return Kept(where, cache, found.folder, str(data)), found


def storing(recipe: Recipe, px: int = 0) -> Storing:
    """How a recipe's images are stored: large enough that a random crop is hardly ever enlarged."""
    if not px and recipe.augment == "presize":
        px = recipe.presize_px
    elif not px:
        largest = max(s.size_at(epoch) for s in recipe.stages for epoch in range(s.epochs))
        px = math.ceil(largest / math.sqrt(max(recipe.min_scale, LEAST_MIN_SCALE)))
        px = max(px, recipe.resize_px)
    return Storing(px, recipe.decode, recipe.decode_factor)


def _choice(options: CacheOptions, needed: int) -> tuple[Literal["device", "memory"], str]:
    """Where to keep `needed` bytes on a machine with a GPU, and why."""
    free, _ = torch.cuda.mem_get_info()
    room = int(DEVICE_SHARE * free)
    sizes = f" of {size_text(free)} that are free"
    if needed <= room and options.mode != "memory":
        return "device", sizes
    if options.mode == "device":
        raise DataError(
            f"the decoded images take {size_text(needed)}, but only {size_text(room)} of GPU "
            f"memory may be used for them ({DEVICE_SHARE:.0%}{sizes}): store smaller images "
            "(--cache-px), or use --cache memory"
        )
    return "memory", "" if options.mode == "memory" else f": more than {DEVICE_SHARE:.0%}{sizes}"


def _resumed(
    options: CacheOptions, facts: dict[str, Any] | None, log: Callable[[str], None]
) -> CacheOptions:
    if facts is None:
        return options
    before = facts.get("cache")
    if before is None and options.mode == "auto":
        return CacheOptions("off")
    if before is None and options.mode != "off":
        log("the run was begun with --cache off: its next epochs will see slightly other crops")
    if before is not None and options.mode == "off":
        log("the run was begun with decoded images: its next epochs will see slightly other crops")
    if before is None:
        return options
    if options.px not in (0, before["shorter_px"]):
        log(f"the run was begun with --cache-px {before['shorter_px']}: crops will differ slightly")
    mode = "memory" if options.mode == "auto" and _device().type != "cuda" else options.mode
    px = options.px or before["shorter_px"]
    return CacheOptions(mode, options.folder, options.limit_gib, px)


def _device() -> torch.device:
    from fastai.torch_core import default_device

    return torch.device(default_device())
