"""The Open Inference Protocol, version 2: requests, tensors and replies."""
