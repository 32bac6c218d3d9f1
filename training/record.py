"""Keep what an evaluation measured in the package: its manifest and its model card."""

from pathlib import Path

from service.inference.manifest import Manifest
from service.inference.package import ModelPackage
from training.evaluate import Evaluation
from training.model_card import write_model_card
from training.package import write_manifest


def record_metrics(folder: Path, measured: Evaluation) -> None:
    """Replace the metrics of the measured precisions and modes; keep the others."""
    package = ModelPackage.load(folder)
    new = [row.metrics() for row in measured.rows]
    replaced = {(m.precision, m.mode) for m in new}
    kept = [m for m in package.manifest.metrics if (m.precision, m.mode) not in replaced]
    manifest = package.manifest.model_copy(update={"metrics": (*kept, *new)})
    write_manifest(folder, Manifest.model_validate(manifest.model_dump()))
    write_model_card(folder)
