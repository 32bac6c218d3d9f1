"""A package whose graph answers at once and reads no pixels: only the work around it is measured.

A GPU answers views faster than the cores prepare them. With this graph the same limit shows on any
machine. It is a real ONNX graph of the contract's signature, so `quincunx serve` serves it as it
is.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.package.manifest import STRIDE_PX, Manifest
from service.package.package import ModelPackage

GRAPH = "model.onnx"


def null_package(package: ModelPackage, folder: Path, *, oldest: bool = False) -> ModelPackage:
    """Write a package into `folder` that has the labels and sizes of `package`, and no network.

    It has one graph, fp32, whose answer is the same for every image. `oldest` leaves out what
    older code does not know: how images are decoded, and calibration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = _graph(len(package.manifest.labels)).SerializeToString()
    (folder / GRAPH).write_bytes(data)
    described = {
        "file": GRAPH,
        "precision": "fp32",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    fields = package.manifest.model_dump(exclude_unset=True)
    if oldest:
        fields |= {"schema_version": 1, "calibration": [], "default_mode": "five_crop"}
        fields["input"] = {name: fields["input"][name] for name in ("crop_px", "resize_px")}
        fields["architecture"].pop("stride_px", None)
        fields.pop("adaptive", None)
    fields["input"].pop("fit", None)  # versions up to 0.5 do not know it
    fields.pop("graph", None)  # this graph is of the kind that every version knows
    fields.pop("unknown", None)  # and has no embedding
    fields |= {"name": "nothing", "version": "0", "files": [described]}
    fields |= {"metrics": [], "multi_label_metrics": []}
    fields["calibration"] = [
        {name: value for name, value in one.items() if name != "unknown_curve"}
        for one in fields.get("calibration", [])
        if one["precision"] == "fp32"
    ]
    manifest = Manifest.model_validate(fields)
    (folder / "manifest.json").write_text(
        manifest.model_dump_json(indent=1, exclude_unset=True), encoding="utf-8"
    )
    return ModelPackage.load(folder)


def _graph(classes: int) -> onnx.ModelProto:
    """images: uint8[N, H, W, 3] -> logits: float32[N, K], class_map: float32[N, K, ⌈H/32⌉, ⌈W/32⌉].

    Only the shape of the images is read.
    """
    answer = np.linspace(3, 0, classes, dtype=np.float32)
    constants = {
        "answer": answer[np.newaxis],
        "cell": answer[np.newaxis, :, np.newaxis, np.newaxis],
        "less_one": np.array(STRIDE_PX - 1, np.int64),
        "stride": np.array(STRIDE_PX, np.int64),
        "classes": np.array([classes], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["images"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "classes"], ["flat"], axis=0),
        helper.make_node("Expand", ["answer", "flat"], ["logits"]),
        helper.make_node("Shape", ["images"], ["sides"], start=1, end=3),
        helper.make_node("Add", ["sides", "less_one"], ["more"]),
        helper.make_node("Div", ["more", "stride"], ["cells"]),
        helper.make_node("Concat", ["flat", "cells"], ["map_shape"], axis=0),
        helper.make_node("Expand", ["cell", "map_shape"], ["class_map"]),
    ]
    graph = helper.make_graph(
        nodes,
        "nothing",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info("class_map", TensorProto.FLOAT, ["N", classes, "h", "w"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.checker.check_model(model)
    return model
