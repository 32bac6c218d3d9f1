"""Check the operators of a graph, and bring the graph into the form that the matching expects."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import version_converter
from onnx.inliner import inline_local_functions

from service.console.text import reason_of
from service.errors import ImportRefused
from training.surgery.graph_index import remove_unused
from training.surgery.probe import MOST_IR_VERSION
from training.surgery.reading.signature import Signature

OPSET = 20
STANDARD = frozenset({"", "ai.onnx"})
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
OTHER_FLOATS = (
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)
QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"),
        *("QLinearMatMul", "ConvInteger", "MatMulInteger"),
    }
)


def prepare(model: onnx.ModelProto, signature: Signature) -> onnx.ModelProto:
    """A simplified copy: one opset, no functions, no dropout, constants folded, free axes.

    Folding is ONNX Runtime's offline optimization of the basic level, which stays within standard
    operators. Number, height and width are declared as free first. So nothing is folded that holds
    for one size only.

    Raises:
        ImportRefused: custom operators, control flow, a quantized graph, or one that does not load.
    """
    _check_domains(model)
    model = inline_local_functions(model)
    _check_quantized(model)
    _declare_free(model, signature)
    model.ir_version = min(model.ir_version, MOST_IR_VERSION)
    model = _simplified(_with_opset(model))
    _check_control_flow(model)
    _check_floats(model)
    remove_unused(model)
    return model


def _check_domains(model: onnx.ModelProto) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    custom = Counter(
        f"{node.domain}.{node.op_type}"
        for node in _all_nodes(model)
        if node.domain not in STANDARD and (node.domain, node.op_type) not in own
    )
    if custom:
        names = ", ".join(f"{name} ({count})" for name, count in custom.most_common(5))
        raise ImportRefused(
            f"the model has operators that are not standard ONNX: {names}. Export it again with "
            "standard operators only. If ONNX Runtime has optimized the file, import the original "
            "file"
        )


def _check_quantized(model: onnx.ModelProto) -> None:
    found = Counter(node.op_type for node in model.graph.node if node.op_type in QUANTIZED)
    if found:
        raise ImportRefused(
            f"the model is quantized already ({_counted(found)}): import the float model. The "
            "import quantizes it if you give images (--data)"
        )


def _check_control_flow(model: onnx.ModelProto) -> None:
    found = Counter(node.op_type for node in model.graph.node if node.op_type in CONTROL_FLOW)
    if found:
        raise ImportRefused(
            f"the model has control flow ({_counted(found)}), whose path depends on the image: "
            "export it from code without branches and loops"
        )


def _check_floats(model: onnx.ModelProto) -> None:
    """Weights that are only stored in another type were folded to float32 before."""
    for tensor in model.graph.initializer:
        if tensor.data_type in OTHER_FLOATS and len(tensor.dims) > 1:
            name = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            raise ImportRefused(
                f"the model computes in {name} (weights {tensor.name!r}): import the float32 "
                "model; fp16 and int8 are derived from it"
            )


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in found.most_common())


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _declare_free(model: onnx.ModelProto, signature: Signature) -> None:
    """Declare number, height and width as free; forget the shapes that follow from fixed ones."""
    graph = model.graph
    del graph.value_info[:]
    names = "NCHW" if signature.layout == "NCHW" else "NHWC"
    for value in graph.input:
        if value.name == signature.input:
            for dim, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
                dim.Clear()
                if name == "C":
                    dim.dim_value = 3
                else:
                    dim.dim_param = name
    (output,) = [value for value in graph.output if value.name == signature.output]
    kept = onnx.helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, None)
    del graph.output[:]
    graph.output.append(kept)
    remove_unused(model)


def _with_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    (own,) = [one.version for one in model.opset_import if one.domain in STANDARD] or [1]
    if own == OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter's own exceptions have no common base
        if own > OPSET:  # newer than known here; ONNX Runtime says whether it can run it
            return model
        raise ImportRefused(
            f"the model is of opset {own} and cannot be converted to {OPSET} ({reason_of(error)}): "
            "export it with opset 17 or later"
        ) from error


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simplified.onnx"
        options.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own exceptions have no common base
            reason = reason_of(error, 400)
            raise ImportRefused(f"ONNX Runtime cannot load the model: {reason}") from error
        found = onnx.load(path)
    version = next(one.version for one in found.opset_import if one.domain in STANDARD)
    del found.opset_import[:]
    found.opset_import.append(onnx.helper.make_opsetid("", version))
    del found.graph.value_info[:]
    return found
