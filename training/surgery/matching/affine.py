"""Whether a head is affine, W·v + b, and its W and b."""

import numpy as np
from numpy.typing import NDArray

from training.surgery.graph_index import GraphIndex
from training.surgery.matching.head import LOGITS, VIEWS, Head
from training.surgery.probe import SEED, Runner

LINEAR = frozenset({"BatchNormalization", "Conv", "Gemm", "MatMul", "Neg", *VIEWS})
"""Linear in their first input, if the others are constants."""
SUMS = frozenset({"Add", "Sub", "Sum"})
SCALED = 1024.0
"""Unit vectors are scaled by this power of two, so that a bias does not cost digits of a weight."""
ROWS = 256
TOLERANCE = 1e-4


def affine(head: Head) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """(W float32[K, C], b float32[K]) of a head with one mean pool; None if it is not affine."""
    if len(head.pools) != 1 or head.pools[0].how != "mean" or not _all_linear(head):
        return None
    runner, form = Runner(head.model, [LOGITS]), head.forms[0]
    channels = int(np.prod(form))

    def run(vectors: NDArray) -> NDArray[np.float64]:
        pooled = vectors.astype(np.float32).reshape(len(vectors), *form)
        return runner.run({head.inputs[0]: pooled})[LOGITS].astype(np.float64)

    bias = run(np.zeros((1, channels)))[0]
    rows = []
    for at in range(0, channels, ROWS):
        units = np.eye(min(ROWS, channels - at), channels, at) * SCALED
        rows.append((run(units) - bias) / SCALED)
    weight = np.concatenate(rows).T
    vectors = np.random.default_rng(SEED).normal(size=(8, channels)) * 3
    expected = run(vectors)
    apart = np.abs(vectors @ weight.T + bias - expected).max()
    if not apart <= TOLERANCE * np.abs(expected).max():
        return None
    return weight.astype(np.float32), bias.astype(np.float32)


def _all_linear(head: Head) -> bool:
    index = GraphIndex(head.model.graph)
    for node in head.model.graph.node:
        data = index.data_inputs(node)
        if not data or node.op_type in SUMS or node.op_type == "Concat":
            continue
        scales = node.op_type == "Mul" or (node.op_type == "Div" and node.input[0] == data[0])
        if len(data) != 1 or not (node.op_type in LINEAR or scales):
            return False
    return True
