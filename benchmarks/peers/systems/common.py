"""Common code of the peers: settings, and the single crop or the exact five-crop.

It needs only numpy, Pillow and onnxruntime, because the peers' venvs have no Quincunx.
"""

import io
import os

import numpy as np
import onnxruntime as ort
from PIL import Image

MODEL = os.environ["PEER_MODEL"]
PORT = int(os.environ["PEER_PORT"])
MODE = os.environ["PEER_MODE"]
RESIZE_PX = int(os.environ["PEER_RESIZE_PX"])
FIT = os.environ["PEER_FIT"]
CROP_PX = int(os.environ["PEER_CROP_PX"])
VIEWS = {"none": 1, "five_crop": 5}[MODE]


def session() -> ort.InferenceSession:
    """The model, with ONNX Runtime's defaults."""
    return ort.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


def logits(model: ort.InferenceSession, images: np.ndarray) -> np.ndarray:
    """uint8[N, S, S, 3] -> float32[N, K]."""
    return np.asarray(model.run(["logits"], {"images": images})[0])


def views(data: bytes) -> np.ndarray:
    """Bytes of a file -> uint8[V, S, S, 3]."""
    return views_of(Image.open(io.BytesIO(data)))


def views_of(image: Image.Image) -> np.ndarray:
    """uint8[V, S, S, 3]: the centre crop, or torchvision's five_crop."""
    image = image.convert("RGB")
    width, height = image.size
    if FIT == "squash":
        image = image.resize((RESIZE_PX, RESIZE_PX), Image.Resampling.BILINEAR)
    elif width <= height:
        image = image.resize(
            (RESIZE_PX, int(RESIZE_PX * height / width)), Image.Resampling.BILINEAR
        )
    else:
        image = image.resize(
            (int(RESIZE_PX * width / height), RESIZE_PX), Image.Resampling.BILINEAR
        )
    pixels = np.asarray(image)
    bottom, right = pixels.shape[0] - CROP_PX, pixels.shape[1] - CROP_PX
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if MODE == "five_crop" else []
    boxes = [*corners, (round(bottom / 2), round(right / 2))]
    return np.stack([pixels[top : top + CROP_PX, left : left + CROP_PX] for top, left in boxes])


def probabilities(raw: np.ndarray) -> np.ndarray:
    """float32[V, K] -> float32[K]: the mean of the views' probabilities."""
    exponentials = np.exp(raw - raw.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).mean(axis=0)


def top5(raw: np.ndarray) -> list[dict[str, float]]:
    """float32[V, K] -> what is answered."""
    found = probabilities(raw)
    return [{"index": int(k), "probability": float(found[k])} for k in np.argsort(-found)[:5]]
