"""LitServe with its batching: decode, batch, predict, unbatch, encode; base64 in JSON."""

# pyright: reportMissingImports=false

import base64

import litserve as ls
import numpy as np
from common import PORT, VIEWS, logits, session, top5, views


class Classifier(ls.LitAPI):
    """One image per request; LitServe gathers up to eight."""

    def setup(self, device: str) -> None:
        self.model = session()

    def decode_request(self, request) -> np.ndarray:  # an annotation would change its parsing
        return views(base64.b64decode(request["image"]))

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(inputs)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return logits(self.model, batch)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output.reshape(-1, VIEWS, output.shape[1]))

    def encode_response(self, output: np.ndarray) -> dict[str, object]:
        return {"predictions": top5(output)}


if __name__ == "__main__":
    api = Classifier(max_batch_size=8, batch_timeout=0.005, api_path="/classify")
    ls.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning"
    )
