"""The pairs of passes that `adaptive` may run."""

from collections.abc import Collection, Sequence

from service.package.manifest import STRIDE_PX, Adaptive, InputSize, Manifest, Mode
from training.calibration.calibration_logits import AUGMENTED, SECONDS


def first_passes(manifest: Manifest, *, cheaper: bool) -> list[Adaptive]:
    """First passes worth trying: the served crop, and with `cheaper` all that cost no more.

    These are whole images (pooled over everything, or with the border counting half), and centre
    crops. A graph that takes only the served size has the served crop alone.
    """
    sizes = manifest.input
    if not cheaper or not manifest.graph.takes_whole_images:
        return [served(sizes)]
    sides = range(2 * STRIDE_PX, sizes.crop_px + 1, STRIDE_PX)
    whole = [Adaptive(first_px=side, first_inset=half) for side in sides for half in (False, True)]
    crops = [Adaptive(first_px=side + STRIDE_PX, first_crop_px=side) for side in sides]
    return list({c.model_dump_json(): c for c in (*whole, *crops, served(sizes))}.values())


def served(sizes: InputSize) -> Adaptive:
    """The crop of `none` as a first pass."""
    return Adaptive(first_px=sizes.resize_px, first_crop_px=sizes.crop_px)


def pairs(
    firsts: Sequence[Adaptive], sizes: InputSize, modes: Collection[Mode], *, cheaper: bool
) -> list[Adaptive]:
    """Every first pass with every second pass that leaves something to run.

    A second pass is one of `modes`. It has several windows or crops; with `cheaper` it may also be
    the served crop.
    """
    return [
        first.model_copy(update={"second": second})
        for first in firsts
        for second in (SECONDS if cheaper else AUGMENTED)
        if second in modes and (second != "none" or first != served(sizes))
    ]


def describe(config: Adaptive) -> str:
    """Both passes in words."""
    first = f"whole image at {config.first_px} px"
    if config.first_crop_px:
        first = f"centre {config.first_crop_px} px of {config.first_px}"
    border = ", its border counting half" if config.first_inset else ""
    second = "the served crop" if config.second == "none" else config.second
    return f"{first}{border}, then {second}"
