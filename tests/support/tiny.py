"""A model package that a test builds in milliseconds: a real graph of the real signature.

Cells of 32×32 px are averaged, compared with one colour per class, and pooled: a linear head over
stride-32 features, as the real networks end, with classes that a person can predict.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.inference.tta.conformal import COVERAGES, key
from service.package.manifest import (
    Adaptive,
    Gate,
    InputSize,
    Label,
    Manifest,
    Mode,
    ModeCalibration,
    Normalization,
    OnnxFile,
    Precision,
    TaskName,
)
from tests.support.images import COLOURS

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.26, 0.27)
MODES: tuple[Mode, ...] = (
    "none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive", "custom",
)  # fmt: skip
MORE_COLOURS = [(230, 210, 40), (40, 210, 210), (200, 50, 200), (240, 240, 240), (15, 15, 15)]


def tiny_package(
    folder: Path,
    *,
    classes: int = 3,
    crop_px: int = 64,
    resize_px: int = 96,
    int8: bool = True,
    name: str = "tiny",
    version: str = "1",
    task: TaskName = "single_label",
) -> Path:
    """Write a package into `folder`: class k is the image closest to colour k.

    Of a `multi_label` package class k is present where colour k is, at a fitted threshold of 0.47.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [*COLOURS, "yellow", "cyan", "magenta", "white", "black"][:classes]
    colours = np.array([*COLOURS.values(), *MORE_COLOURS][:classes], np.float32) / 255
    precisions: tuple[Precision, ...] = ("fp32", "int8") if int8 else ("fp32",)
    files: list[OnnxFile] = []
    for precision in precisions:
        path = folder / ("model.onnx" if precision == "fp32" else f"model.{precision}.onnx")
        margin = 0.3 if task == "multi_label" else 0.0
        onnx.save(_graph(colours, margin, quantized=precision == "int8"), path)
        data = path.read_bytes()
        files.append(
            OnnxFile(
                file=path.name,
                precision=precision,
                size_bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    manifest = Manifest(
        name=name,
        version=version,
        architecture={"name": "tiny"},
        task=task,
        labels=tuple(Label(index=i, id=n, name=n.title()) for i, n in enumerate(names)),
        input=InputSize(crop_px=crop_px, resize_px=resize_px),
        normalization=Normalization(mean=MEAN, std=STD, source="given"),
        files=tuple(files),
        calibration=tuple(
            _calibration(p, m, classes if task == "multi_label" else 0)
            for p in precisions
            for m in MODES
        ),
        adaptive=Adaptive(first_px=crop_px, second="dense"),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1))
    return folder


def _calibration(precision: Precision, mode: Mode, thresholds: int) -> ModeCalibration:
    if thresholds:
        return ModeCalibration(
            precision=precision, mode=mode, temperature=1.25,
            thresholds=dict.fromkeys(("mean", "max"), (0.47,) * thresholds),
        )  # fmt: skip
    gates = tuple(
        Gate(
            kind="probability",
            threshold=t,
            expected_cost=c,
            conformal={key(one): round(one - 0.1 * c, 6) for one in COVERAGES},
        )
        for t, c in ((0.5, 1.0), (0.7, 1.2), (0.9, 1.6))
    )
    views = {"five_crop": 5, "ten_crop": 10, "dense": 5, "centre_dense": 6}.get(mode)
    return ModeCalibration(
        precision=precision,
        mode=mode,
        temperature=1.25,
        view_weights=tuple([0.5 / (views - 1)] * (views - 1) + [0.5]) if views else None,
        conformal={key(c): round(c - 0.2, 6) for c in COVERAGES},
        gate=gates[1] if mode == "adaptive" else None,
        gate_curve=gates if mode == "adaptive" else (),
    )


def _graph(colours: np.ndarray, margin: float, *, quantized: bool) -> onnx.ModelProto:
    # -|x - c|^2 is linear in x up to a term that all classes share: 2 c.x - |c|^2.
    # `margin` is what a colour must have beyond a mixture of others to count as present.
    sharpness = 12.0
    std, mean = np.array(STD, np.float32), np.array(MEAN, np.float32)
    weight = sharpness * 2 * colours * std
    bias = sharpness * (2 * colours @ mean - (colours**2).sum(1) - margin)
    constants = {
        "mean": mean * 255,
        "std": std * 255,
        "bias": bias.astype(np.float32),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normal"]),
        helper.make_node("Transpose", ["normal"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["cells"], kernel_shape=[32, 32], strides=[32, 32],
            ceil_mode=1, count_include_pad=0,
        ),
    ]  # fmt: skip
    if quantized:
        scale = np.float32(np.abs(weight).max() / 127)
        constants["head_int8"] = np.round(weight / scale).astype(np.int8)[..., None, None]
        constants["scale"] = np.array(scale, np.float32)
        nodes.append(helper.make_node("DequantizeLinear", ["head_int8", "scale"], ["head"]))
    else:
        constants["head"] = weight.astype(np.float32)[..., None, None]
    nodes += [
        helper.make_node("Conv", ["cells", "head", "bias"], ["class_map"]),
        helper.make_node("ReduceMean", ["class_map", "axes"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(colours)]),
            helper.make_tensor_value_info(
                "class_map", TensorProto.FLOAT, ["N", len(colours), "h", "w"]
            ),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
