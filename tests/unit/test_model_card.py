"""The card tells people what the manifest says, and only that."""

from pathlib import Path

from service.package.card.document import render, write_model_card
from service.package.manifest import Gate, Metrics, ModeCalibration, PairedMetrics
from service.package.package import ModelPackage
from training.export.writer import write_manifest


def test_an_evaluated_package_shows_metrics_and_calibration(package: Path) -> None:
    manifest = ModelPackage.load(package).manifest
    card = render(
        manifest.model_copy(
            update={
                "metrics": (
                    Metrics(
                        precision="int8",
                        mode="dense",
                        images=3925,
                        top1=0.8912,
                        top1_interval=(0.881, 0.9005),
                        nll=0.4321,
                        ece=0.0123,
                        against_single=PairedMetrics(
                            corrected=33,
                            spoiled=24,
                            difference=0.0023,
                            interval=(-0.0015, 0.0058),
                            p_value=0.2892,
                            nll_difference=-0.01,
                            nll_interval=(-0.02, 0.0),
                        ),
                    ),
                ),
                "calibration": (
                    ModeCalibration(
                        precision="int8",
                        mode="adaptive",
                        temperature=0.71,
                        temperature_power=0.25,
                        gate=Gate(kind="margin", threshold=0.42, expected_cost=1.2),
                        conformal={"0.95": 0.8},
                    ),
                ),
            }
        )
    )
    assert "| int8 | dense | 89.12% (88.10% to 90.05%) | 0.4321 | 0.0123 | 3925 |" in card
    assert "| int8 | dense | int8 none | 33 | 24 | +0.23 (-0.15 to +0.58) | 0.289 |" in card
    assert "| int8 | adaptive | 0.710 × H^0.25 | margin ≥ 0.420, cost 1.20 | 0.95 |" in card


def test_what_is_not_in_the_manifest_is_not_in_the_card(package: Path) -> None:
    bare = ModelPackage.load(package).manifest.model_copy(
        update={"metrics": (), "calibration": (), "provenance": {}}
    )
    card = render(bare)
    for heading in ("Measured", "Calibration", "Training", "Checked"):
        assert f"## {heading}" not in card
    assert "ImageNet" not in card


def test_imagenet_classes_bring_imagenets_terms(package: Path) -> None:
    manifest = ModelPackage.load(package).manifest
    first = manifest.labels[0].model_copy(update={"id": "n01440764"})
    labelled = manifest.model_copy(update={"labels": (first, *manifest.labels[1:])})
    assert "non-commercial research" in render(labelled)


def test_the_card_is_written_beside_the_manifest(package: Path, tmp_path: Path) -> None:
    loaded = ModelPackage.load(package)
    write_manifest(tmp_path, loaded.manifest)
    for file in loaded.manifest.files:
        (tmp_path / file.file).write_bytes((package / file.file).read_bytes())
    assert write_model_card(tmp_path).read_text() == render(loaded.manifest)
