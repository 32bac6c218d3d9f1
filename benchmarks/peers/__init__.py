"""Quincunx and other servers of the same ONNX file: same photos, same load, same client."""
