"""The fp16 graph for a GPU, derived from a package's fp32 graph: half the bytes per feature.

Convolutions run in float16. Normalization, head and pooling run in float32. Inputs and outputs are
those of the fp32 graph. The fp16 graph is made on the machine that serves it. A package does not
ship it, because the fp32 graph already stores its weights as float16 and the package would only
double in size.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from service.errors import ExportError
from service.inference.runtime.session import Session
from service.inference.tta.task import TASKS
from service.package.manifest import Manifest
from service.package.package import ModelPackage
from training.export.model_card import write_model_card
from training.export.writer import FILES, copy_metadata, describe, write_manifest

TOLERANCE = 2e-2
PROBES = 4


def to_fp16(fp32: Path, fp16: Path) -> None:
    """Write the fp16 graph of `fp32` to `fp16`."""
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        # Batch normalization is folded in float32, before values are rounded.
        quant_pre_process(fp32, folded, skip_symbolic_shape=True)
        model = onnx.load(folded)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{index}"  # the nodes to leave in float32 go by name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every weight that is subnormal in float16
        half = convert_float_to_float16(
            model, keep_io_types=True, node_block_list=_in_float32(model.graph)
        )
    _drop_repeated_casts(half.graph)
    onnx.save(half, fp16)
    copy_metadata(fp32, fp16)


def add_fp16(folder: Path, log: Callable[[str], None] = print) -> Path:
    """Derive ``model.fp16.onnx`` from the package's fp32 graph and add it to the manifest.

    It agrees with fp32 far closer than a calibration can tell, so it takes over that of fp32.

    Raises:
        ModelPackageError: no valid package, or one without an fp32 graph.
        ExportError: the fp16 graph does not agree with the fp32 one.
    """
    package = ModelPackage.load(folder)
    path = folder / FILES["fp16"]
    fp32 = package.path("fp32")
    new = path.with_name(f".{path.name}.new")
    try:
        to_fp16(fp32, new)
        apart, agreement = difference(fp32, new, package.manifest)
        if not apart <= TOLERANCE:
            raise ExportError(
                f"{path.name} does not agree with {fp32.name}: outputs differ by {apart:.1e} of "
                f"the largest; the limit is {TOLERANCE:.0e}"
            )
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    files = [file for file in package.manifest.files if file.precision != "fp16"]
    entry = describe(folder, "fp16")
    files.append(entry.model_copy(update={"calibrated_as": "fp32", "agreement": agreement}))
    provenance = {
        **package.manifest.provenance,
        "fp16": {"derived_from": FILES["fp32"], "largest_relative_difference": apart},
    }
    changed = {"files": tuple(files), "provenance": provenance}
    write_manifest(folder, package.manifest.model_copy(update=changed))
    write_model_card(folder)
    log(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB; agrees with fp32 to {apart:.0e}")
    return path


def difference(fp32: Path, fp16: Path, manifest: Manifest) -> tuple[float, float]:
    """The largest difference on smooth noise: of the logits, as a share of the largest of them, and
    of the probabilities."""
    side_px, task = manifest.input.crop_px, TASKS[manifest.task]
    first, second = (Session.open(path, provider="cpu") for path in (fp32, fp16))
    random = np.random.default_rng(0)
    cells = -(-side_px // 8)
    coarse = random.integers(0, 256, (PROBES, cells, cells, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :side_px, :side_px]
    a, b = (session.run(images, "logits") for session in (first, second))
    probabilities = np.abs(task.probabilities(a) - task.probabilities(b)).max()
    return float(np.abs(a - b).max() / np.abs(a).max()), float(probabilities)


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """Keep one of the equal casts that the converter writes where nodes read the same tensor."""
    seen = set[tuple[str, ...]]()
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        made = tuple(node.output)
        if node.op_type != "Cast" or made not in seen:
            kept.append(node)
        seen.add(made)
    del graph.node[:]
    graph.node.extend(kept)


def _in_float32(graph: onnx.GraphProto) -> list[str]:
    """The nodes before the first convolution, the last convolution with all nodes after it, and
    all nodes that depend on windows, whose shares would be rounded."""
    nodes = list(graph.node)
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    if not convolutions:
        raise ExportError("the graph has no convolution, so fp16 would not make it faster")
    of_windows = {"windows"}
    for node in nodes:  # in the order of their dependence
        if of_windows.intersection(node.input):
            of_windows.update(node.output)
    return [
        node.name
        for index, node in enumerate(nodes)
        if not convolutions[0] <= index < convolutions[-1] or of_windows.intersection(node.input)
    ]
