"""Store the results of an evaluation in the package: in its manifest and its model card."""

from pathlib import Path

from service.package.manifest import Manifest
from service.package.package import ModelPackage
from training.evaluation.evaluate import Evaluation
from training.evaluation.multi_label import LabelEvaluation
from training.export.model_card import write_model_card
from training.export.writer import write_manifest


def record_metrics(folder: Path, measured: Evaluation) -> None:
    """Replace the metrics of the measured precisions and modes; keep the others."""
    package = ModelPackage.load(folder)
    new = measured.metrics()
    replaced = {(m.precision, m.mode) for m in new}
    kept = [m for m in package.manifest.metrics if (m.precision, m.mode) not in replaced]
    manifest = package.manifest.model_copy(update={"metrics": (*kept, *new)})
    write_manifest(folder, Manifest.model_validate(manifest.model_dump()))
    write_model_card(folder)


def record_label_metrics(folder: Path, measured: LabelEvaluation) -> None:
    """The same for a multi-label package."""
    manifest = ModelPackage.load(folder).manifest
    new = [row.metrics(manifest) for row in measured.rows]
    replaced = {(m.precision, m.mode) for m in new}
    kept = [m for m in manifest.multi_label_metrics if (m.precision, m.mode) not in replaced]
    changed = manifest.model_copy(update={"multi_label_metrics": (*kept, *new)})
    write_manifest(folder, Manifest.model_validate(changed.model_dump()))
    write_model_card(folder)
