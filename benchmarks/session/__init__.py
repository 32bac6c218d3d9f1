"""What ONNX Runtime's session options are worth on this machine."""
