"""PyTriton: Triton's own server and dynamic batcher in front of a Python function."""

# pyright: reportMissingImports=false

import numpy as np
from common import PORT, logits, probabilities, session, views
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model = session()


@batch
def infer(image: np.ndarray) -> dict[str, np.ndarray]:
    """bytes[N, 1] -> float32[N, K]."""
    made = [views(data) for data in image[:, 0]]
    parts = np.split(logits(model, np.concatenate(made)), len(made))
    return {"probabilities": np.stack([probabilities(part) for part in parts])}


if __name__ == "__main__":
    config = TritonConfig(http_port=PORT, grpc_port=PORT + 1, metrics_port=PORT + 2)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="classify",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(
                max_batch_size=8, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)
            ),
        )
        triton.serve()
