"""Quincunx beside other ways of serving the same ONNX file: same photos, same load, same client."""
