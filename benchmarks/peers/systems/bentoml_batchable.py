"""BentoML with `batchable=True`: its adaptive batching gathers requests into one call."""

import os
from typing import Any

import bentoml
import numpy as np
from common import logits, session, top5, views_of
from PIL.Image import Image


@bentoml.service(traffic={"timeout": 60}, workers=1)
class Classifier:
    """The model behind BentoML's batcher."""

    def __init__(self) -> None:
        self.model = session()

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=10_000)
    def classify(self, images: list[Image]) -> list[dict[str, Any]]:
        """Classify a batch that BentoML gathered."""
        batch = [views_of(image) for image in images]
        found = logits(self.model, np.concatenate(batch))
        return [{"predictions": top5(part)} for part in np.split(found, len(images))]


if __name__ == "__main__":
    os.execvp(  # noqa: S606
        "bentoml",  # noqa: S607
        ["bentoml", "serve", "bentoml_batchable:Classifier", "--port", os.environ["PEER_PORT"]],
    )
