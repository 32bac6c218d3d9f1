"""Checks of a manifest's `graph` part against its sizes, and the rules of version 1."""

from typing import TYPE_CHECKING

from service.package.modes import modes, why_not

if TYPE_CHECKING:
    from service.package.manifest import Graph, Manifest


def check(manifest: "Manifest") -> None:
    """Refuse a graph that cannot run the passes in its manifest.

    Raises:
        ValueError: with one sentence that names the first contradiction.
    """
    if manifest.schema_version == 1:
        _check_version_1(manifest)
    _check_sizes(manifest.graph)
    crop_px = manifest.input.crop_px
    _check_square(crop_px, manifest.graph, "crop_px")
    _check_adaptive(manifest)
    if manifest.default_mode in ("custom", "adaptive"):  # manifest_checks says more of them
        return
    if reason := why_not(manifest, manifest.default_mode):
        raise ValueError(
            f"default_mode is {manifest.default_mode}, but {reason}; "
            f"it can answer: {', '.join(modes(manifest))}"
        )


def _check_version_1(manifest: "Manifest") -> None:
    """Version 1 has no graph part. All its graphs are of one kind, with a stride of 32 px."""
    from service.package.manifest import STRIDE_PX, Graph

    new = {
        "graph": manifest.graph != Graph(),
        "unknown": manifest.unknown is not None,
        "input.fit": manifest.input.fit != "shorter_side",
        "input.interpolation": manifest.input.interpolation != "bilinear",
        "files.calibrated_as": any(file.calibrated_as for file in manifest.files),
    }
    if used := [name for name, is_used in new.items() if is_used]:
        raise ValueError(f"schema_version 1 has no {used[0]}; write schema_version 2")
    sides = {"input.crop_px": manifest.input.crop_px, "input.resize_px": manifest.input.resize_px}
    if manifest.adaptive:
        sides["adaptive.first_px"] = manifest.adaptive.first_px
        sides["adaptive.first_crop_px"] = manifest.adaptive.first_crop_px or STRIDE_PX
    for name, side_px in sides.items():
        if side_px % STRIDE_PX:
            raise ValueError(
                f"{name} must be a multiple of {STRIDE_PX} in schema_version 1, but got {side_px}"
            )


def _check_sizes(graph: "Graph") -> None:
    if graph.sizes == "dynamic":
        return
    if not graph.sizes:
        raise ValueError("graph.sizes must be dynamic or name at least one [height, width]")
    if len(set(graph.sizes)) < len(graph.sizes):
        raise ValueError("graph.sizes has a pair more than once")


def _check_square(side_px: int, graph: "Graph", name: str) -> None:
    if graph.sizes == "dynamic":
        if side_px < graph.smallest_px:
            raise ValueError(
                f"{name} must be at least graph.smallest_px ({graph.smallest_px}), "
                f"but got {side_px}"
            )
    elif (side_px, side_px) not in graph.sizes:
        known = ", ".join(f"[{height}, {width}]" for height, width in graph.sizes)
        raise ValueError(
            f"graph.sizes must hold the crops, [{side_px}, {side_px}] of {name}, but has {known}"
        )


def _check_adaptive(manifest: "Manifest") -> None:
    adaptive, graph = manifest.adaptive, manifest.graph
    if adaptive is None:
        return
    if reason := why_not(manifest, "adaptive"):
        raise ValueError(f"adaptive.second is {adaptive.second}, but {reason}")
    if adaptive.first_crop_px is not None:
        _check_square(adaptive.first_crop_px, graph, "adaptive.first_crop_px")
    elif not graph.takes_whole_images:
        raise ValueError(
            "adaptive.first_crop_px is needed: without it the first pass is the whole image, "
            f"which kind {graph.kind} and sizes {graph.sizes} do not take"
        )
    if adaptive.first_inset and adaptive.first_px < 2 * graph.stride_px:
        raise ValueError(
            f"first_inset needs a first_px of at least {2 * graph.stride_px}, two strides, "
            f"but got {adaptive.first_px}"
        )
