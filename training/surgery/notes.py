"""What an exporter notes in a graph about itself and its machine."""

import onnx

from training.surgery.probe import MOST_IR_VERSION


def drop_notes(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes, such as stack traces with paths of another machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del graph.value_info[:]
    graph.name = "quincunx"
    model.ir_version = MOST_IR_VERSION
    model.producer_name, model.producer_version = "quincunx", ""
