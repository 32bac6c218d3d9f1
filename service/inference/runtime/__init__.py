"""ONNX Runtime: sessions, execution providers, bound buffers, and crops that share layers."""
