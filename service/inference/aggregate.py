"""Many views, one answer. Every function says which space it averages in.

`mean` averages probabilities (the default, and what torchvision's and fastai's users expect);
`gmean` is the normalized geometric mean of probabilities; `logit_mean` averages logits before the
softmax; `max` takes each class's best view and normalizes; `weighted` is a mean of probabilities
with weights fitted on the calibration split.
"""

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.inference.manifest import Aggregation

Array = NDArray[np.float64]

TINY = 1e-12


def softmax(logits: NDArray[np.floating]) -> Array:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def aggregate(
    logits: NDArray[np.floating], how: Aggregation, weights: tuple[float, ...] | None = None
) -> Array:
    """logits [..., V, K] -> probabilities float64[..., K] summing to 1.

    Raises:
        UsageError: `weighted` without weights, or with weights of another number of views.
    """
    if how == "logit_mean":
        return softmax(logits.mean(axis=-2))
    probabilities = softmax(logits)
    if how == "mean":
        return probabilities.mean(axis=-2)
    if how == "max":
        return _normalized(probabilities.max(axis=-2))
    if how == "gmean":
        return softmax(np.log(np.maximum(probabilities, TINY)).mean(axis=-2))
    if weights is None:
        raise UsageError(
            "aggregate=weighted needs weights fitted at calibration, and this model package has "
            "none for this mode; use mean"
        )
    if len(weights) != logits.shape[-2]:
        raise UsageError(
            f"{len(weights)} weights were fitted, but there are {logits.shape[-2]} views"
        )
    return np.einsum("...vk,v->...k", probabilities, np.asarray(weights))


def temper(probabilities: Array, temperature: float) -> Array:
    """Refit confidence after aggregation: softmax(log p / T) over the last axis.

    Guo et al., "On Calibration of Modern Neural Networks" (arXiv:1706.04599), applied to the
    aggregated probabilities because averaging views changes how sure an answer looks.
    """
    if temperature == 1.0:
        return probabilities
    return softmax(np.log(np.maximum(probabilities, TINY)) / temperature)


def _normalized(values: Array) -> Array:
    return values / values.sum(axis=-1, keepdims=True)
