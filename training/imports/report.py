"""The report of an import: about ten lines."""

from service.inference.image.geometry import Size
from service.inference.tta.planner import Planner
from service.package.manifest import Fit, Manifest
from service.package.modes import modes
from training.imports.parity import TOLERANCE, Parity
from training.surgery import Converted

KINDS = {
    "class_map": "class map: average pooling, then one linear layer",
    "windows": "windows: features are pooled over windows, then the head runs for each",
    "crops": "crops: each crop runs alone",
}

FITS: dict[Fit, str] = {
    "shorter_side": "photos keep their shape",
    "squash": "photos are squashed to a square",
}


def lines(manifest: Manifest, converted: Converted, compared: Parity) -> list[str]:
    """What was found, what the package answers, how it compares, what it costs."""
    graph, sizes, name = manifest.graph, manifest.input, manifest.architecture["name"]
    millions = manifest.architecture["parameters"] / 1e6
    found = [
        f"{name}: {len(manifest.labels)} classes, {millions:.1f} million parameters",
        f"kind: {KINDS[graph.kind]}",
        f"modes: {', '.join(modes(manifest))}",
        f"input: crops of {sizes.crop_px} px out of {sizes.resize_px} px, {sizes.interpolation}, "
        f"{FITS[sizes.fit]}; "
        f"mean {_numbers(manifest.normalization.mean)}, std {_numbers(manifest.normalization.std)}",
    ]
    if graph.sizes == "dynamic":
        found.append(f"sizes: any from {graph.smallest_px} px, stride {graph.stride_px} px")
        if converted.source_sizes != "dynamic":
            found.append(
                f"sizes: the source takes {_pairs(converted.source_sizes)} px only, and was "
                "compared there; every operator works alike at other sizes"
            )
    else:
        found.append(f"sizes: {_pairs(graph.sizes)} px only")
    if graph.embedding is None:
        found.append("embedding: none, because the features before the head were not found")
    else:
        found.append(f"embedding: {graph.embedding} numbers")
    if converted.reason:
        found.append(f"limits: {converted.reason}")
    at = ", ".join(f"{size} px {value:.0e}" for size, value in compared.sizes.items())
    found.append(
        f"agrees with the source on {compared.images}, of the largest logit: {at} "
        f"(limit {TOLERANCE:.0e}); same top-1"
    )
    if compared.windows is not None:
        found.append(f"windows agree with windows cut by hand to {compared.windows:.0e}")
    found += [f"changed: {note}" for note in converted.notes]
    if graph.takes_whole_images:
        square = Size(sizes.resize_px, sizes.resize_px)
        planner = Planner(sizes, graph=graph)
        cost = planner.cost(planner.passes("dense", square))
        found.append(f"cost on a square photo, in crops: dense {cost:.2f}, five_crop 5")
    found.append(
        "default mode: none, the answers of the source. The confidence is not calibrated: quincunx "
        "calibrate PACKAGE DATA calibrates it, and chooses the default mode"
    )
    return found


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _pairs(sizes: object) -> str:
    pairs = sizes if isinstance(sizes, tuple) else ()
    return ", ".join(f"{width}×{height}" for height, width in pairs)
