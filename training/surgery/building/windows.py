"""Kind B: features are pooled over windows inside the graph, then the head is applied to each.

A window is (left, top, right, bottom) in fractions of the image that the graph is given. For a
mean, a cell counts by the share that the window covers, as in `service/inference/tta/windows.py`. A
maximum takes the cells that the window covers by at least half in height and by at least half in
width. Where there is none, it takes the row or column that is covered most.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from training.surgery.building.builder import Builder, channels_first
from training.surgery.matching.head import LOGITS, Head
from training.surgery.matching.pools import How

WINDOWS = "windows"
HALF = 0.499
"""Half a cell, with room for the rounding of fractions in float32."""
LOWEST = float(np.finfo(np.float32).min)


def add_windows(model: onnx.ModelProto, head: Head, channels: int, classes: int) -> str:
    """Give `logits` and `window_logits`; returns the name of the features [N, C, h, w]."""
    graph = model.graph
    del graph.output[:]
    graph.input.append(helper.make_tensor_value_info(WINDOWS, TensorProto.FLOAT, ["V", 4]))
    builder = Builder(graph, "quincunx.windows")
    features = channels_first(builder, head.pools[0].features, head.pools[0].axes)
    builder.give("logits", ["N", classes])
    builder.give("window_logits", ["N", "V", classes])

    def as_given(pooled: str, at: int) -> str:
        return builder.node("Reshape", pooled, builder.integers(-1, *head.forms[at]))

    kinds = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}
    whole = {
        name: as_given(builder.node(kinds[pool.how], features), at)
        for at, (name, pool) in enumerate(zip(head.inputs, head.pools, strict=True))
    }
    builder.append(head.model.graph, {**whole, LOGITS: "logits"}, "quincunx.whole/")
    shares = _Shares(builder, features)
    pooled = {
        name: as_given(shares.pooled(pool.how, channels), at)
        for at, (name, pool) in enumerate(zip(head.inputs, head.pools, strict=True))
    }
    builder.append(
        head.model.graph, {**pooled, LOGITS: "quincunx.windows.logits"}, "quincunx.windows/"
    )
    number = builder.node("Gather", builder.node("Shape", WINDOWS), builder.integers(0))
    shape = builder.node("Concat", builder.integers(-1), number, builder.integers(classes), axis=0)
    builder.node("Reshape", "quincunx.windows.logits", shape, output="window_logits")
    return features


class _Shares:
    """The share of every row and column of cells that each window covers."""

    def __init__(self, builder: Builder, features: str) -> None:
        self._builder, self._features = builder, features
        self._zero = builder.store(0, np.float32)
        shape = builder.node("Shape", features)
        last = builder.integers(1)
        self._edges = [
            builder.node("Slice", WINDOWS, builder.integers(at), builder.integers(at + 1), last)
            for at in range(4)
        ]
        self._rows = self._covered(shape, 2, self._edges[1], self._edges[3])
        self._columns = self._covered(shape, 3, self._edges[0], self._edges[2])

    def pooled(self, how: How, channels: int) -> str:
        """The features pooled over every window: [N·V, C]."""
        node, one = self._builder.node, self._builder.integers
        found = self._mean() if how == "mean" else self._maximum()  # [N, C, V]
        return node("Reshape", node("Transpose", found, perm=[0, 2, 1]), one(-1, channels))

    def _covered(self, shape: str, axis: int, start: str, end: str) -> str:
        """[V, cells]: how much of each cell along one axis is covered, 0 to 1."""
        node, store = self._builder.node, self._builder.store
        cells = node("Squeeze", node("Gather", shape, self._builder.integers(axis)))
        zero, one = store(0, np.int64), store(1, np.int64)
        low = node("Cast", node("Range", zero, cells, one), to=TensorProto.FLOAT)
        count = node("Cast", cells, to=TensorProto.FLOAT)
        start, end = (node("Mul", edge, count) for edge in (start, end))  # in cells
        high = node("Min", node("Add", low, store(1, np.float32)), end)
        return node("Max", node("Sub", high, node("Max", low, start)), self._zero)

    def _mean(self) -> str:
        node, last = self._builder.node, self._builder.integers(1)
        rows, columns = (
            node("Transpose", node("Div", one, node("ReduceSum", one, last)), perm=[1, 0])
            for one in (self._rows, self._columns)
        )
        across = node("MatMul", self._features, columns)  # [N, C, h, V]
        return node("ReduceSum", node("Mul", across, rows), self._builder.integers(2), keepdims=0)

    def _maximum(self) -> str:
        node, store, integers = self._builder.node, self._builder.store, self._builder.integers
        lowest, half = store(LOWEST, np.float32), store(HALF, np.float32)
        rows, columns = (
            node("GreaterOrEqual", one, node("Min", node("ReduceMax", one, integers(1)), half))
            for one in (self._rows, self._columns)
        )  # [V, h], [V, w]
        cells = node("Unsqueeze", self._features, integers(3))  # [N, C, h, 1, w]
        across = node("ReduceMax", node("Where", columns, cells, lowest), integers(4), keepdims=0)
        tall = node("Transpose", rows, perm=[1, 0])  # [h, V]
        return node("ReduceMax", node("Where", tall, across, lowest), integers(2), keepdims=0)
