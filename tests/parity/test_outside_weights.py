"""Weights of another program become the package that a run with the same weights becomes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from service.errors import DataError, UsageError
from service.package.package import ModelPackage
from tests.support.untrained import RECIPE, STATS, network
from training.calibration.images import held_out
from training.commands.export import app
from training.data.dataset import split
from training.export.export import export_package
from training.export.outside_weights import OutsideWeights
from training.network.weights import stored_as_fp16, weights_from_package
from training.recipe import Architecture

ORIGIN = "Trained on a boat by hand."


@pytest.fixture(name="given")
def _given(tmp_path: Path) -> OutsideWeights:
    weights = {
        key: value.half() if stored_as_fp16(tuple(value.shape)) else value
        for key, value in network().state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(weights, tmp_path / "some.safetensors")
    (tmp_path / "norm.json").write_text(json.dumps({"mean": STATS.mean, "std": STATS.std}))
    return OutsideWeights(tmp_path / "some.safetensors", tmp_path / "norm.json", RECIPE, ORIGIN)


def test_the_package_is_that_of_a_run_with_these_weights(
    given: OutsideWeights, exported: Path, drawn_data: Path, tmp_path: Path
) -> None:
    package = export_package(given, tmp_path / "mine", drawn_data, int8=False, log=lambda _: None)
    own, run = weights_from_package(package), weights_from_package(exported)
    assert own.keys() == run.keys()
    for key, value in own.items():
        torch.testing.assert_close(value, run[key], rtol=0, atol=0)
    manifest, other = (ModelPackage.load(folder).manifest for folder in (package, exported))
    assert manifest.input == other.input
    assert manifest.provenance["dataset"] == other.provenance["dataset"]
    assert manifest.normalization.mean == pytest.approx(STATS.mean, abs=1e-6)
    assert manifest.provenance["weights_from"]["origin"] == ORIGIN
    card = (package / "MODEL_CARD.md").read_text()
    assert ORIGIN in card
    assert "some.safetensors" in card
    assert "trained and exported" not in card


def test_its_calibration_images_are_those_of_the_recipe(
    given: OutsideWeights, drawn_data: Path, tmp_path: Path
) -> None:
    many = replace(given, recipe=replace(RECIPE, calibration_share=0.5))
    package = export_package(many, tmp_path / "mine", drawn_data, int8=False, log=lambda _: None)
    with pytest.raises(DataError, match="15 calibration images"):
        held_out(ModelPackage.load(package), drawn_data)
    assert len(split(drawn_data, many.recipe).calibration) == 15


def _state(change: Any) -> dict[str, torch.Tensor]:
    weights = dict(network().state_dict())
    change(weights)
    return weights


def _two_classes(weights: dict[str, torch.Tensor]) -> None:
    last = [key for key in weights if key.endswith("weight")][-1]
    weights[last] = weights[last][:2].clone()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.0.weight"), r"1 of its \d+ tensors are missing and 0 are unknown, 0.0"),
        (lambda w: w.update(extra=torch.zeros(1)), "0 of its .* 1 are unknown, extra first"),
        (_two_classes, r"must have the shape \[3, \d+\], but got \[2, \d+\]"),
    ],
)
def test_weights_of_another_network_are_refused(
    given: OutsideWeights, drawn_data: Path, tmp_path: Path, change: Any, message: str
) -> None:
    save_file(_state(change), given.file)
    with pytest.raises(DataError, match=message):
        export_package(given, tmp_path / "mine", drawn_data)
    assert not (tmp_path / "mine").exists()


def test_weights_of_another_architecture_are_refused(
    given: OutsideWeights, drawn_data: Path, tmp_path: Path
) -> None:
    other = replace(given, recipe=replace(RECIPE, architecture=Architecture(name="xresnet50")))
    with pytest.raises(DataError, match="is not of xresnet50 with 3 classes"):
        export_package(other, tmp_path / "mine", drawn_data)


def test_a_file_that_is_no_safetensors_is_refused(
    given: OutsideWeights, drawn_data: Path, tmp_path: Path
) -> None:
    given.file.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(DataError, match="not a safetensors file"):
        export_package(given, tmp_path / "mine", drawn_data)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"mean": STATS.mean}, "the keys mean and std"),
        ({"mean": [0.5, 0.5], "std": [1, 1, 1]}, "three numbers"),
        ({"mean": [0.5, 0.5, 0.5], "std": [1, 0, 1]}, "std above 0"),
        ({"mean": STATS.mean, "std": STATS.std, "classes": ["a", "b", "c"]}, "the classes a, b, c"),
    ],
)
def test_a_normalization_that_does_not_fit_is_refused(
    given: OutsideWeights, drawn_data: Path, tmp_path: Path, stated: Any, message: str
) -> None:
    given.normalization.write_text(json.dumps(stated))
    with pytest.raises(DataError, match=message):
        export_package(given, tmp_path / "mine", drawn_data)


@pytest.mark.parametrize(
    "options",
    [
        ["--weights", "w.safetensors"],
        ["runs/mine", "--weights", "w.safetensors", "--normalization", "n.json"],
        ["runs/mine", "--origin", "here"],
        ["--weights", "w", "--normalization", "n", "--recipe", "gpu"],
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str]) -> None:
    with pytest.raises(UsageError, match="--weights"):
        CliRunner().invoke(app, [*options, "--out", "x", "--data", "d"], catch_exceptions=False)
