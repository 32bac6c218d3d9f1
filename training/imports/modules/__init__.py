"""torch modules become ONNX graphs, each compared with its module."""
