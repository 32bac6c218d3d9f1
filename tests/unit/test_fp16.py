"""The fp16 graph is derived from a package: same contract, near the same numbers."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from service.errors import ExportError, UsageError
from service.inference.fp16 import agreement
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.package.manifest import ModeCalibration
from service.package.package import ModelPackage
from service.package.shipped import SHIPPED
from service.package.verify import verify
from tests.support.images import drawn
from tests.support.kinds import Drawn, kind_package
from training.commands.export import app
from training.export.fp16 import add_fp16


@pytest.fixture(scope="module")
def with_fp16(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(exported, tmp_path_factory.mktemp("models") / "untrained")
    done = CliRunner().invoke(app, ["--add-fp16", str(folder)])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(folder / "model.fp16.onnx")
    return folder


def test_the_package_gains_a_verified_fp16_graph(with_fp16: Path) -> None:
    package = ModelPackage.load(with_fp16)
    assert package.precisions == ("fp32", "int8", "fp16")
    assert package.manifest.provenance["fp16"]["largest_relative_difference"] < 2e-2
    assert "`model.fp16.onnx`" in (with_fp16 / "MODEL_CARD.md").read_text()
    assert Predictor.from_package(with_fp16, precision="fp16", provider="cpu").precision == "fp16"


def test_adding_it_again_replaces_it(with_fp16: Path) -> None:
    add_fp16(with_fp16, log=lambda _: None)
    assert ModelPackage.load(with_fp16).precisions == ("fp32", "int8", "fp16")


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 128), (2, 45, 83)], ids=str)
def test_fp16_is_close_to_fp32_at_any_shape(with_fp16: Path, shape: tuple[int, int, int]) -> None:
    pixels = np.stack([drawn(*shape[1:], seed) for seed in range(shape[0])])
    fp32, fp16 = (
        Session.open(with_fp16 / name, provider="cpu") for name in ("model.onnx", "model.fp16.onnx")
    )
    for output in ("logits", "class_map"):
        expected, got = fp32.run(pixels, output), fp16.run(pixels, output)
        assert got.dtype == np.float32
        assert 0 < np.abs(got - expected).max() < 2e-2 * np.abs(expected).max()


def test_convolutions_are_fp16_and_the_head_is_not(with_fp16: Path) -> None:
    graph = onnx.load(with_fp16 / "model.fp16.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert {kinds[node.input[1]] for node in convolutions[:-1]} == {TensorProto.FLOAT16}
    assert kinds[convolutions[-1].input[1]] == TensorProto.FLOAT
    first = next(node for node in graph.node if node.op_type == "Mul")
    assert {kinds[name] for name in first.input if name in kinds} == {TensorProto.FLOAT}


def test_an_fp16_graph_that_differs_is_refused_and_leaves_no_trace(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(exported, tmp_path / "untrained")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(agreement, "MOST_OF_LOGITS", 0.0)
    with pytest.raises(ExportError, match=r"does not agree with model\.onnx"):
        add_fp16(folder, log=lambda _: None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["run", "--out", "x"],
        ["run", "--add-fp16", SHIPPED],
        ["--crop-px", "64", "--add-fp16", SHIPPED],
        ["run", "--out", "x", "--data", "y", "--crop-px", "64"],
        ["run", "--out", "x", "--data", "y", "--crop-px", "96", "--resize-px", "64"],
        ["run", "--out", "x", "--data", "y", "--crop-px", "65", "--resize-px", "96"],
    ],
    ids=str,
)
def test_options_that_make_no_sense_together_are_usage_errors(arguments: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, arguments).exception, UsageError)


@pytest.mark.parametrize("drawn_kind", ["class_map", "average", "maximum", "any_crops", "crops"])
def test_fp16_takes_over_the_calibration_in_every_kind(tmp_path: Path, drawn_kind: Drawn) -> None:
    fitted = ModeCalibration(precision="fp32", mode="none", temperature=1.3)
    folder = kind_package(tmp_path / "kind", drawn_kind, 16, deep=True, calibration=(fitted,))
    add_fp16(folder, log=lambda _: None)
    package = verify(folder)
    _, entry = package.manifest.files
    assert (entry.precision, entry.calibrated_as) == ("fp16", "fp32")
    assert entry.agreement is not None
    assert 0 <= entry.agreement < 1e-2
    image = drawn(150, 140, seed=1)
    answers = [
        Predictor.from_package(folder, precision=precision, provider="cpu", threads=1)
        .classify([image], "none")[0]
        .answer
        for precision in ("fp32", "fp16")
    ]
    assert all(answer.calibrated for answer in answers)
    np.testing.assert_allclose(answers[0].probabilities, answers[1].probabilities, atol=1e-2)


def test_a_graph_without_convolutions_gets_no_fp16(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "kind", "average", 16)
    with pytest.raises(ExportError, match="fp16 would not make it faster"):
        add_fp16(folder, log=lambda _: None)
    assert verify(folder).precisions == ("fp32",)
