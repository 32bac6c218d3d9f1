"""The gain from ONNX Runtime's session options on this machine."""
