"""From a checkpoint to a model package: graphs, parity, quantization, model card."""
