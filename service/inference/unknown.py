"""The unknown score: how different an image is from the images that a model was trained on.

It adds two measures, each in units of its spread over the calibration images: how low the largest
logit is, and how far the embedding lies from the few directions in which embeddings of training
images vary. The second is the residual of ViM (Wang et al., "ViM: Out-Of-Distribution with
Virtual-logit Matching", arXiv:2203.10807). The residual finds noise and text, which often get large
logits. The logits are better for photos of similar things. A typical image of a known class has a
score near 0; higher means less known.
"""

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelPackageError, UsageError
from service.package.parts import CurvePoint, UnknownModel

NONE_FOR_SEVERAL_LABELS = (
    "is multi-label, and has no unknown score: if an image shows none of its classes, the answer "
    "has no labels"
)
"""What follows the name of a model in the error."""
TINY = 1e-12
ROUNDING = 0.02
Values = NDArray[np.floating]
Curve = tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Unknown:
    """Whether none of the classes fits an image."""

    score: float
    """Higher: the image looks less like the training images. 0 is typical for a known image."""
    threshold: float
    is_unknown: bool
    """score > threshold."""
    known_rate: float
    """The share of images of known classes whose scores are up to the threshold."""

    def as_json(self) -> dict[str, Any]:
        """The object `unknown` of answers."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class UnknownScorer:
    """The unknown score of a package: its values in the manifest, and the content of its file."""

    model: UnknownModel
    mean: NDArray[np.floating]
    """[C]."""
    directions: NDArray[np.floating]
    """[D, C], orthonormal."""

    @classmethod
    def read(cls, model: UnknownModel, data: bytes, channels: int, where: str) -> "UnknownScorer":
        """Read the verified content of `model.file`; `where` is for messages.

        Raises:
            ModelPackageError: it is not a float16[1 + D, C] in the .npy format.
        """
        try:
            rows = _rows(data)
        except ValueError as error:
            raise ModelPackageError(f"{where} is not what the manifest says: {error}") from error
        if rows.shape[1] != channels or not np.isfinite(rows).all():
            raise ModelPackageError(
                f"{where} must hold finite float16[1 + D, {channels}], because graph.embedding is "
                f"{channels}, but holds float16{list(rows.shape)}"
            )
        wide = rows.astype(np.float64)  # once, and not for every answer
        mean, directions = wide[0], wide[1:]
        if not _orthonormal(directions):
            raise ModelPackageError(
                f"{where} must hold directions that are orthonormal, after the mean in its first "
                "row; fit the score again with quincunx calibrate --only-unknown"
            )
        return cls(model, mean, directions)

    def score(self, embedding: Values, logits: Values) -> NDArray[np.float64]:
        """embedding [..., C] and logits [..., K] of one answer -> [...]."""
        return self.combined(*measures(embedding, logits, self.mean, self.directions))

    def combined(
        self, top: NDArray[np.float64], residual: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The score from its two measures."""
        logit, distance = self.model.logit, self.model.residual
        return (top - logit.centre) / logit.spread + self.model.residual_weight * (
            residual - distance.centre
        ) / distance.spread


def _orthonormal(directions: NDArray[np.float64]) -> bool:
    """Whether the rows are of length 1 and at right angles, as float16 rounds them."""
    count, channels = directions.shape
    if count > channels:
        return False
    return not count or bool(np.abs(directions @ directions.T - np.eye(count)).max() < ROUNDING)


def _rows(data: bytes) -> NDArray[np.float16]:
    """float16[1 + D, C] of a .npy file.

    The header is compared with the length of the file before anything is allocated.

    Raises:
        ValueError: it is not such a file.
    """
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("it must be a .npy file of version 1.0")
    try:
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # of many kinds: NumPy parses the header as Python
        raise ValueError(f"its header is broken: {error}") from error
    start = stream.tell()
    plain = all(type(side) is int for side in shape)
    if dtype != np.dtype("<f2") or fortran_order or not plain or len(shape) != 2 or shape[0] < 1:
        raise ValueError(f"it must hold float16[1 + D, C], but holds {dtype}{list(shape)}")
    if len(data) - start != 2 * shape[0] * shape[1]:
        raise ValueError(f"its header says {list(shape)}, but {len(data) - start} bytes follow")
    return np.frombuffer(data, "<f2", offset=start).reshape(shape)


def measures(
    embedding: Values, logits: Values, mean: Values, directions: Values
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two measures of the score: minus the largest logit, and the logarithm of the residual.

    embedding [..., C], logits [..., K], mean [C], directions [D, C] -> two of [...].
    """
    away = np.asarray(embedding, np.float64) - mean
    along = away @ np.asarray(directions, np.float64).T
    squared = np.square(away).sum(-1) - np.square(along).sum(-1)
    return -np.asarray(logits.max(-1), np.float64), 0.5 * np.log(np.maximum(squared, TINY))


def as_bytes(mean: Values, directions: Values) -> bytes:
    """The content of the file that `UnknownScorer.read` reads."""
    stream = io.BytesIO()
    rows = np.ascontiguousarray(np.concatenate([mean[None], directions]), np.float16)
    np.lib.format.write_array(stream, rows, allow_pickle=False)
    return stream.getvalue()


def threshold_at(curve: Curve, known_rate: float) -> float:
    """The threshold at a known rate; between two points of the curve it is interpolated.

    Raises:
        UsageError: the rate is out of the curve's range.
    """
    rates, thresholds = zip(*curve, strict=True)
    if not rates[0] <= known_rate <= rates[-1]:
        raise UsageError(
            f"known_rate must be from {rates[0]:g} to {rates[-1]:g} for this model and mode, or "
            f"off, but got {known_rate}"
        )
    return float(np.interp(known_rate, rates, thresholds))
