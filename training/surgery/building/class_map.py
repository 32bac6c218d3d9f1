"""Kind A: an affine head after average pooling becomes a 1×1 convolution.

The mean over cells and an affine head may change their order. So the head is applied at every cell,
and the mean of the class map over any window is the answer for that window.
"""

import numpy as np
import onnx
from numpy.typing import NDArray

from training.surgery.building.builder import Builder, channels_first
from training.surgery.matching.pools import Pool


def add_class_map(
    model: onnx.ModelProto, pool: Pool, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> str:
    """Give `logits` and `class_map`; returns the name of the features [N, C, h, w].

    `logits` are computed from pooled features, which costs less than a mean over the class map.
    Both share one stored weight. The convolution comes first: quantization leaves the last
    convolution, and everything after it, in float.
    """
    del model.graph.output[:]
    classes, channels = weight.shape
    builder = Builder(model.graph, "quincunx.head")
    features = channels_first(builder, pool.features, pool.axes)
    builder.give("logits", ["N", classes])
    builder.give("class_map", ["N", classes, "h", "w"])
    matrix = builder.store(weight, np.float32, "quincunx.head.weight")
    shift = builder.store(bias, np.float32, "quincunx.head.bias")
    if classes == channels and np.array_equal(weight, np.eye(classes)) and not bias.any():
        builder.node("Identity", features, output="class_map")
        pooled = builder.node("GlobalAveragePool", features)
        builder.node("Flatten", pooled, output="logits")
        del model.graph.initializer[-2:]
        return features
    kernel = builder.node("Reshape", matrix, builder.integers(classes, channels, 1, 1))
    builder.node("Conv", features, kernel, shift, output="class_map", kernel_shape=[1, 1])
    pooled = builder.node("Flatten", builder.node("GlobalAveragePool", features))
    builder.node("Gemm", pooled, matrix, shift, output="logits", transB=1)
    return features
