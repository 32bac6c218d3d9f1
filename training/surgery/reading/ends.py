"""Take a softmax or sigmoid off the end of a graph: temperatures and averaging need logits."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from service.errors import ImportRefused
from training.surgery.building.builder import Builder, rename
from training.surgery.graph_index import GraphIndex
from training.surgery.matching.head import VIEWS
from training.surgery.probe import Runner
from training.surgery.reading.signature import Signature
from training.surgery.wanted import Activation, Wanted

ENDS: dict[str, Activation] = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
}
SQUEEZING = frozenset({"Exp", "HardSigmoid", "Sigmoid", "Softmax", "Tanh"})
LAST_NODES = 6
SUM_TOLERANCE = 1e-3
TINY = 1e-30


def take_off(
    model: onnx.ModelProto, signature: Signature, wanted: Wanted, feeds: dict[str, NDArray]
) -> tuple[Activation, str]:
    """Change `model` so that it gives logits; returns what its output was, and a note.

    A last Softmax, LogSoftmax or Sigmoid is removed. If there is none but the values are
    probabilities, their logarithm is taken, which gives the logits up to a constant per image.

    Raises:
        ImportRefused: the model differs from what `wanted` says, or its output has not two axes.
    """
    output = signature.output
    found = Runner(model).run(feeds)[output]
    number = next(iter(feeds.values())).shape[0]
    if found.ndim < 2 or len(found) != number or found.size != number * max(found.shape[1:]):
        raise ImportRefused(
            f"the output must hold one value for each class, [N, K], but {output} is of shape "
            f"{list(found.shape)} for {number} images"
        )
    node = _last(GraphIndex(model.graph), output)
    if node is not None and node.op_type in ENDS:
        activation = ENDS[node.op_type]
        _check(wanted, activation, f"the model ends in {node.op_type}")
        kind = node.op_type
        _bypass(node)
        return activation, f"the {kind} at the end was taken off"
    sums, inside = found.reshape(number, -1).sum(1), bool((found >= 0).all() and (found <= 1).all())
    if inside and np.allclose(sums, 1, atol=SUM_TOLERANCE):
        _check(wanted, "softmax", "the values of the output lie in 0 to 1 and sum to 1")
        _append_log(model, output, odds=False)
        return "softmax", "the output holds probabilities; the logarithm gives logits"
    if inside and wanted.activation is None and _squeezes(GraphIndex(model.graph), output):
        raise ImportRefused(
            f"the values of {output} lie in 0 to 1, but the end is not a plain Sigmoid or Softmax: "
            "say what they are with --activation none, softmax or sigmoid"
        )
    if inside and wanted.activation == "sigmoid":
        _append_log(model, output, odds=True)
        return "sigmoid", "the output holds probabilities; their log odds are the logits"
    _check(wanted, "none", "the model ends without one, and the values are no probabilities")
    return "none", ""


def _check(wanted: Wanted, found: Activation, why: str) -> None:
    if wanted.activation not in (None, found, found.removeprefix("log_")):
        raise ImportRefused(f"--activation {wanted.activation}, but {why}: this is {found}")


def _last(index: GraphIndex, output: str) -> onnx.NodeProto | None:
    """The last node that changes values, seen from the output."""
    node = index.producer.get(output)
    while node is not None and node.op_type in VIEWS:
        data = index.data_inputs(node)
        node = index.producer.get(data[0]) if len(data) == 1 else None
    return node


def _squeezes(index: GraphIndex, output: str) -> bool:
    """Whether one of the last operators limits values, as a sigmoid that is written out does."""
    names = [output]
    for _ in range(LAST_NODES):
        nodes = [index.producer[name] for name in names if name in index.producer]
        if any(node.op_type in SQUEEZING for node in nodes):
            return True
        names = [name for node in nodes for name in index.data_inputs(node)]
    return False


def _bypass(node: onnx.NodeProto) -> None:
    """Replace the node with an Identity of its first input."""
    plain = helper.make_node("Identity", [node.input[0]], [node.output[0]], f"{node.name}.bypass")
    node.CopyFrom(plain)


def _append_log(model: onnx.ModelProto, output: str, *, odds: bool) -> None:
    """Let `output` be the logarithm of what it was, or with `odds` its log odds."""
    inner = f"{output}.probabilities"
    rename(model, output, inner)
    builder = Builder(model.graph, inner)
    tiny = builder.store(TINY, np.float32)

    def log(values: str, name: str = "") -> str:
        return builder.node("Log", builder.node("Max", values, tiny), output=name)

    if not odds:
        log(inner, output)
        return
    absent = builder.node("Sub", builder.store(1, np.float32), inner)
    builder.node("Sub", log(inner), log(absent), output=output)
