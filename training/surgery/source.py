"""The source model as a function: preprocessing in NumPy, then the graph as it was given."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from training.surgery.probe import Runner, smooth_images
from training.surgery.reading.signature import Signature
from training.surgery.wanted import Wanted

NUMPY_TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.UINT8: np.uint8,
}


def fed(images: NDArray[np.uint8], signature: Signature, wanted: Wanted) -> NDArray:
    """uint8[N, H, W, 3] RGB -> what the source takes, in its layout and type."""
    pixels = images[..., ::-1] if wanted.channels == "BGR" else images
    kind = NUMPY_TYPES[signature.element]
    if kind is not np.uint8:
        mean, std = (np.asarray(value, np.float64) for value in (wanted.mean, wanted.std))
        pixels = ((pixels / 255.0 - mean) / std).astype(kind)
    if signature.layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels)


class SourceFunction:
    """uint8[N, H, W, 3] -> the source's own output, float32[N, K].

    A source whose batch is fixed is run as often as needed.
    """

    def __init__(self, model: onnx.ModelProto, signature: Signature, wanted: Wanted) -> None:
        self._runner = Runner(model, [signature.output])
        self._signature, self._wanted = signature, wanted

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = self._signature.batch or len(images)
        missing = -len(images) % batch
        padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        rows = [self._run(padded[at : at + batch]) for at in range(0, len(padded), batch)]
        return np.concatenate(rows)[: len(images)]

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        feeds = {self._signature.input: fed(images, self._signature, self._wanted)}
        found = self._runner.run(feeds)[self._signature.output]
        return found.reshape(len(images), -1).astype(np.float32)


def example(signature: Signature, wanted: Wanted) -> dict[str, NDArray]:
    """A feed of the size that the source takes: its own batch, or two drawn pictures."""
    height, width = signature.fixed_sides or (wanted.crop_px, wanted.crop_px)
    images = smooth_images(signature.batch or 2, height, width)
    return {signature.input: fed(images, signature, wanted)}
