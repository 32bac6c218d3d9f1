"""Add the output `embedding` to the graphs of a package that was written without it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from service.errors import ExportError, UsageError
from service.inference.runtime.session import WHOLE_VIEW, Output, Session
from service.package.card.document import write_model_card
from service.package.manifest import Graph, Manifest, Precision
from service.package.package import ModelPackage
from service.package.recorded.dependence import restamped
from service.package.session_checks import check_fit
from training.export.change import copy_package
from training.export.writer import (
    check_version,
    describe,
    remove_leftovers,
    replacing,
    write_manifest,
)
from training.surgery.embedding import add_embedding
from training.surgery.probe import smooth_images

OUTPUTS: dict[str, Output] = {
    "class_map": "class_map",
    "windows": "window_logits",
    "crops": "logits",
}
PROBED = 2


def embed_package(
    folder: Path, *, version: str | None = None, log: Callable[[str], None] = print
) -> Manifest:
    """Add the output to every graph of the package in `folder`, which is replaced as a whole.

    The weights and all other outputs stay as they are: each new graph is run beside the old one,
    and must give the same bits. `version` is the new version, by default the old one.

    Raises:
        UsageError: the package has embeddings already, or none can be found in a graph.
        ExportError: a graph gives other answers with the new output.
        ModelPackageError: no valid package.
    """
    if version is not None:
        check_version(version)
    folder = folder.resolve()
    remove_leftovers(folder)
    package = ModelPackage.load(folder)
    manifest = package.manifest
    if manifest.graph.embedding is not None:
        raise UsageError(f"{folder} has embeddings of {manifest.graph.embedding} numbers already")
    found = set[int]()
    with replacing(folder) as new:
        copy_package(folder, new)
        for file in manifest.files:
            model = onnx.load_model_from_string(package.read(file.precision))
            channels = add_embedding(model, manifest.input.crop_px)
            if channels is None:
                raise UsageError(
                    f"{file.file} has no features that could be its embedding: neither a layer "
                    "that makes a class map, nor a last linear layer"
                )
            found.add(channels)
            onnx.save(model, new / file.file)
            _compare(package.path(file.precision), new / file.file, manifest)
        if len(found) != 1:
            raise UsageError(f"the graphs of {folder} have embeddings of {sorted(found)} numbers")
        files = tuple(
            file.model_copy(update=_changed(new, file.precision)) for file in manifest.files
        )
        graph = Graph.model_validate({**dict(manifest.graph), "embedding": found.pop()})
        changed = {"files": files, "graph": graph, "version": version or manifest.version}
        changed["schema_version"] = 2
        manifest = restamped(manifest, Manifest.model_validate({**dict(manifest), **changed}))
        write_manifest(new, manifest)
        write_model_card(new)
        for file in files:
            session = Session.open(new / file.file, provider="cpu")
            check_fit(session, manifest, exact=file.precision != "int8")
        ModelPackage.load(new)
    log(f"{manifest.name}: embeddings of {manifest.graph.embedding} numbers; answers are the same")
    return manifest


def _changed(folder: Path, precision: Precision) -> dict[str, object]:
    described = describe(folder, precision)
    return {"size_bytes": described.size_bytes, "sha256": described.sha256}


def _compare(before: Path, after: Path, manifest: Manifest) -> None:
    """Raises ExportError unless both graphs give the same bits."""
    old, new = (Session.open(path, provider="cpu") for path in (before, after))
    for images in _probes(manifest):
        for output in dict.fromkeys(("logits", OUTPUTS[manifest.graph.kind])):
            windows = WHOLE_VIEW if output == "window_logits" else None
            expected = old.run(images, output, windows)
            beside, _ = new.run_with_embedding(images, output, windows)
            if not np.array_equal(expected, beside):
                apart = float(np.abs(expected - beside).max())
                raise ExportError(
                    f"{before.name} gives other {output} with the new output: {apart:.1e} apart"
                )


def _probes(manifest: Manifest) -> list[NDArray[np.uint8]]:
    side_px, graph = manifest.input.crop_px, manifest.graph
    found = [smooth_images(PROBED, side_px, side_px), smooth_images(1, side_px, side_px)]
    if graph.takes_whole_images:
        step = graph.stride_px
        high, wide = (round(side_px * share / step) * step for share in (1.25, 1.75))
        found.append(smooth_images(1, high, wide))
    return found
