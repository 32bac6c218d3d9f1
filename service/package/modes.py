"""Which modes a package can answer. All code that offers or refuses a mode calls this module."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, get_args

from service.package.parts import Mode, Precision
from service.package.task_rules import TASK_RULES

if TYPE_CHECKING:
    from service.package.manifest import Manifest

OF_WHOLE_IMAGES: tuple[Mode, ...] = ("dense", "centre_dense")
"""Modes that need a pass over a whole image."""


def modes(manifest: "Manifest", precision: Precision | None = None) -> tuple[Mode, ...]:
    """The modes that a package can answer at `precision`; None: at any of its precisions.

    `adaptive` needs a gate, which calibration fits. The other modes need no calibration.
    """
    precisions: list[Precision] = [file.precision for file in manifest.files]
    if precision is not None:
        precisions = [precision]
    gated = any(manifest.calibration_for(p, "adaptive").gate for p in precisions)
    return tuple(mode for mode in graph_modes(manifest) if mode != "adaptive" or gated)


def common_modes(
    manifest: "Manifest", precisions: Sequence[Precision], wanted: Iterable[Mode]
) -> tuple[Mode, ...]:
    """Those of the wanted modes that all of the precisions can answer, each once."""
    each = [modes(manifest, precision) for precision in precisions]
    return tuple(mode for mode in dict.fromkeys(wanted) if all(mode in some for some in each))


def without_adaptive(
    manifest: "Manifest", precisions: Sequence[Precision], answered: Iterable[Mode]
) -> str:
    """The message that a command does not measure `adaptive`.

    Empty if `adaptive` is among the modes `answered`, or if no calibration could add it.
    """
    if "adaptive" in answered or not TASK_RULES[manifest.task].adaptive:
        return ""
    if common_modes(manifest, precisions, ["adaptive"]):
        return ""
    return (
        f"without adaptive: {manifest.name} has no gate for it in every one of "
        f"{', '.join(precisions)}. `quincunx calibrate PACKAGE DATA` fits one; it needs 50 "
        "images that were not trained on"
    )


def graph_modes(manifest: "Manifest") -> tuple[Mode, ...]:
    """The modes whose passes the graphs of a package can run, whether it is calibrated or not."""
    every: tuple[Mode, ...] = get_args(Mode)
    return tuple(mode for mode in every if not why_not(manifest, mode))


def why_not(manifest: "Manifest", mode: Mode) -> str:
    """The reason why the graphs of a package cannot run the passes of `mode`; empty: they can."""
    graph, adaptive = manifest.graph, manifest.adaptive
    if graph.takes_whole_images:
        return ""
    if mode in OF_WHOLE_IMAGES or (mode == "adaptive" and adaptive and adaptive.second == "dense"):
        return _no_whole_images(manifest)
    return ""


def _no_whole_images(manifest: "Manifest") -> str:
    graph = manifest.graph
    if graph.sizes != "dynamic":
        sizes = ", ".join(f"{width}×{height}" for height, width in graph.sizes)
        return f"its graph takes images of {sizes} px only"
    return "its graph gives the logits of whole crops only, not of windows (graph kind crops)"
