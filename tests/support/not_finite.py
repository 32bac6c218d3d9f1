"""A package whose network standardizes each image, as imported ones may: one colour gives NaN."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.support.packages import edit_graph
from tests.support.tiny import tiny_package

ONE_COLOUR: NDArray[np.uint8] = np.full((100, 120, 3), (200, 40, 30), np.uint8)


def standardizing_package(folder: Path) -> Path:
    """A tiny package that gives NaN for a view of one colour."""
    tiny_package(folder, int8=False)
    edit_graph(folder, _divide_by_contrast)
    return folder


def _divide_by_contrast(model: onnx.ModelProto) -> None:
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "positions"))
    (at,) = (at for at, node in enumerate(graph.node) if node.op_type == "Conv")
    graph.node[at].input[0] = "scaled"
    for node in reversed(
        [
            helper.make_node("ReduceMax", ["planes", "positions"], ["most"], keepdims=1),
            helper.make_node("ReduceMin", ["planes", "positions"], ["least"], keepdims=1),
            helper.make_node("Sub", ["most", "least"], ["contrast"]),
            helper.make_node("Div", ["contrast", "contrast"], ["one"]),
            helper.make_node("Mul", ["cells", "one"], ["scaled"]),
        ]
    ):
        graph.node.insert(at, node)
