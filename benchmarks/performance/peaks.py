"""The best measured rates of the cores: large matrix products and large copies."""

# pyright: basic, reportMissingTypeStubs=false
# (onnx and onnxruntime have no complete type stubs)

from dataclasses import astuple, dataclass
from time import perf_counter

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

SIDE = 1024
COPY_BYTES = 256 << 20
IR_VERSION = 10


@dataclass(frozen=True)
class Peaks:
    """The best of several tries; operations count multiplications and additions."""

    fp32_gops: float
    int8_gops: float
    copy_gbytes: float
    """Bytes read and bytes written, both counted."""


def measure(threads: int, tries: int = 8) -> Peaks:
    """Square products of side 1024 through ONNX Runtime, and a copy that no cache holds."""
    return Peaks(
        fp32_gops=_best(_fp32(threads), tries, 2 * SIDE**3),
        int8_gops=_best(_int8(threads), tries, 2 * SIDE**3),
        copy_gbytes=_best(_copy(), tries, 2 * COPY_BYTES),
    )


def better(one: Peaks, other: Peaks) -> Peaks:
    """The best of two measurements, figure by figure."""
    return Peaks(*(max(pair) for pair in zip(astuple(one), astuple(other), strict=True)))


def _best(work, tries: int, amount: int) -> float:
    work()
    least = float("inf")
    for _ in range(tries):
        began = perf_counter()
        work()
        least = min(least, perf_counter() - began)
    return amount / least / 1e9


def _fp32(threads: int):
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    session = _session([node], TensorProto.FLOAT, TensorProto.FLOAT, threads)
    a = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    return lambda: session.run(None, {"a": a, "b": a})


def _int8(threads: int):
    """uint8 times int8 into int32, as quantized convolutions multiply."""
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    session = _session([node], TensorProto.UINT8, TensorProto.INT32, threads, TensorProto.INT8)
    random = np.random.default_rng(0)
    feeds = {
        "a": random.integers(0, 256, (SIDE, SIDE), np.uint8),
        "b": random.integers(-127, 128, (SIDE, SIDE), np.int8),
    }
    return lambda: session.run(None, feeds)


def _session(nodes, kind: int, result: int, threads: int, second: int | None = None):
    shape = [SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "product",
        [
            helper.make_tensor_value_info("a", kind, shape),
            helper.make_tensor_value_info("b", second or kind, shape),
        ],
        [helper.make_tensor_value_info("c", result, shape)],
    )
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", 20)]
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    data = model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _copy():
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)
