"""The int8 graph computes in int8, keeps the contract, and stays close to fp32."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from service.errors import ExportError, InferenceFailed
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.package.package import ModelPackage
from service.package.verify import verify
from tests.support.images import COLOURS, coloured, encoded
from tests.support.kinds import Drawn, kind_package
from training.data.item import Item
from training.export.export import export_package
from training.export.quantize import Quantization, agreement, quantize
from training.export.writer import describe, write_manifest


@pytest.fixture(scope="module")
def optimized(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The int8 graph as ONNX Runtime runs it."""
    path = tmp_path_factory.mktemp("optimized") / "model.onnx"
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that such a file is for this machine only
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(exported / "model.int8.onnx", options, ["CPUExecutionProvider"])
    return onnx.load(path)


def test_every_convolution_but_the_first_and_the_head_runs_in_int8(
    optimized: onnx.ModelProto, exported: Path
) -> None:
    kinds = [node.op_type for node in optimized.graph.node]
    plain = [node.op_type for node in onnx.load(exported / "model.onnx").graph.node]
    poolings = plain.count("AveragePool")
    assert poolings == 3  # of the shortcuts, and each is a convolution now
    assert kinds.count("QLinearConv") == plain.count("Conv") - 2 + poolings
    assert kinds.count("Conv") == 2
    assert kinds.count("QLinearAdd") == 8  # every residual sum


def test_features_are_quantized_once_and_dequantized_once(
    optimized: onnx.ModelProto,
) -> None:
    kinds = [node.op_type for node in optimized.graph.node]
    assert kinds.count("QuantizeLinear") == 1
    # ONNX Runtime gives each float reader its own: the head and the pooling of the embedding.
    assert kinds.count("DequantizeLinear") == 2
    assert "BatchNormalization" not in kinds


def test_weights_have_a_scale_for_every_channel(exported: Path) -> None:
    graph = onnx.load(exported / "model.int8.onnx").graph
    tensors = {t.name: t for t in graph.initializer}
    weights = [t for t in tensors.values() if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
    assert weights
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and tensors.get(node.input[0]) in weights:
            weight, scale = tensors[node.input[0]], tensors[node.input[1]]
            assert list(scale.dims) == [weight.dims[0]]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 128), (2, 32, 160)], ids=str)
def test_int8_is_close_to_fp32_on_the_stride(exported: Path, shape: tuple[int, int, int]) -> None:
    # Like what it was calibrated on.
    names = ("red", "green", "blue")
    pixels = np.stack([coloured(names[i], *shape[1:], seed=i) for i in range(shape[0])])
    fp32, int8 = (
        Session.open(exported / name, provider="cpu") for name in ("model.onnx", "model.int8.onnx")
    )
    for output in ("logits", "class_map"):
        expected, got = fp32.run(pixels, output), int8.run(pixels, output)
        assert got.shape == expected.shape
        assert got.dtype == np.float32
        assert 0 < np.abs(got - expected).max() < 0.15 * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(2, 45, 83), (1, 64, 72), (1, 97, 64)], ids=str)
def test_off_the_stride_int8_fails_rather_than_be_wrong(
    exported: Path, shape: tuple[int, int, int]
) -> None:
    session = Session.open(exported / "model.int8.onnx", provider="cpu")
    with pytest.raises(InferenceFailed, match=r"model\.int8\.onnx failed on"):
        session.run(np.zeros((*shape, 3), np.uint8), "logits")


def test_the_agreement_with_fp32_is_recorded(exported: Path) -> None:
    recorded = ModelPackage.load(exported).manifest.provenance["int8"]
    assert recorded["against_fp32"]["views"] == 12  # two of each of 6 calibration images
    assert recorded["against_fp32"]["top1_agreement"] >= 0.8
    assert recorded["method"] == "minmax"


def test_a_rough_int8_graph_is_refused_left_out_or_kept(
    run_folder: Path, drawn_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training leaves it out: hours of work must not end without a package."""
    monkeypatch.setattr("training.export.parity.INT8_TOLERANCE", -1.0)
    out, said = tmp_path / "rough", list[str]()
    with pytest.raises(ExportError, match=r"not a rounded form .*--no-int8"):
        export_package(run_folder, out, drawn_data, log=said.append)
    assert not out.exists()
    export_package(run_folder, out, drawn_data, rough_int8="leave out", log=said.append)
    assert verify(out).precisions == ("fp32",)
    assert any(line.startswith("int8 is left out: model.int8.onnx") for line in said)
    export_package(run_folder, out, drawn_data, rough_int8="keep", overwrite=True, log=said.append)
    assert verify(out).precisions == ("fp32", "int8")


@pytest.mark.parametrize("drawn_kind", ["class_map", "average", "maximum", "any_crops", "crops"])
def test_every_kind_of_graph_is_quantized(tmp_path: Path, drawn_kind: Drawn) -> None:
    folder = kind_package(tmp_path / "kind", drawn_kind, 16, deep=True)
    items: list[Item] = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(coloured(list(COLOURS)[number % 3], 120, 150, number)))
        items.append(Item(path, "red"))
    manifest = ModelPackage.load(folder).manifest
    sizes, graph = manifest.input, manifest.graph
    fp32, int8 = folder / "model.onnx", folder / "model.int8.onnx"
    quantize(fp32, int8, items, sizes, Quantization(images=6), graph)
    kinds = [node.op_type for node in onnx.load(int8).graph.node]
    assert "DequantizeLinear" in kinds
    write_manifest(
        folder, manifest.model_copy(update={"files": (*manifest.files, describe(folder, "int8"))})
    )
    assert verify(folder).precisions == ("fp32", "int8")
    measured = agreement(fp32, int8, items, sizes, graph)
    assert measured["views"] == 6 * (2 if graph.takes_whole_images else 1)
    assert measured["top1_agreement"] == 1
    for mode in Predictor.from_package(folder, provider="cpu", threads=1).model.modes:
        if mode != "custom":
            one, two = (
                Predictor.from_package(folder, precision=p, provider="cpu", threads=1).classify(
                    [coloured("blue")], mode
                )[0]
                for p in ("fp32", "int8")
            )
            assert one.label == two.label
            np.testing.assert_allclose(one.answer.probabilities, two.answer.probabilities, atol=0.1)
