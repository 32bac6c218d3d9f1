"""Add the fp16 graph of a GPU to a package.

Serving derives it at the first start where the package lacks it (see `service/inference/fp16`). A
package that ships it starts faster, and is larger.
"""

from collections.abc import Callable
from pathlib import Path

from service.errors import ExportError
from service.inference.fp16 import agreement
from service.inference.fp16.graph import runs_in_float16, to_fp16
from service.inference.runtime.session import Session
from service.package.package import ModelPackage
from training.export.add_graph import put_graph
from training.export.writer import FILES


def add_fp16(folder: Path, log: Callable[[str], None] = print) -> Path:
    """Derive ``model.fp16.onnx`` from the package's fp32 graph and add it to the manifest.

    It agrees with fp32 far closer than a calibration can tell, so it takes over that of fp32.

    Raises:
        ModelPackageError: no valid package, or one without an fp32 graph.
        ExportError: nothing would run in float16, or the two graphs do not agree.
    """
    package = ModelPackage.load(folder)
    path = folder / FILES["fp16"]
    fp32 = package.path("fp32")
    new = path.with_name(f".{path.name}.new")
    try:
        graph = to_fp16(package.read("fp32"))
        if not runs_in_float16(graph):
            raise ExportError(
                f"{fp32.name} has no convolution or matrix product before its last layer, so fp16 "
                "would not make it faster"
            )
        new.write_bytes(graph)
        first, second = (Session.open(graph, provider="cpu") for graph in (fp32, new))
        seen = agreement.compare(first, second, package.manifest)
        if not seen.good:
            raise ExportError(f"{path.name} does not agree with {fp32.name}: {seen}")
        facts = {"derived_from": FILES["fp32"], "largest_relative_difference": seen.logits}
        follows = {"calibrated_as": "fp32", "agreement": seen.probabilities}
        put_graph(package, "fp16", new, facts, log, entry=follows)
    finally:
        new.unlink(missing_ok=True)
    size_mib = path.stat().st_size / 2**20
    log(f"{path.name}: {size_mib:.1f} MiB; agrees with fp32 to {seen.logits:.0e}")
    return path
