"""Many views, one answer. Every function says which space it averages in.

`mean` averages probabilities (the default, and what torchvision's and fastai's users expect);
`gmean` is the normalized geometric mean of probabilities; `logit_mean` averages logits before the
softmax; `max` takes each class's best view and normalizes; `weighted` is a mean of probabilities
with weights fitted on the calibration split.

Of a multi-label model probabilities are sigmoids, each class on its own: `max` says that what one
view saw is there, and nothing is normalized.
"""

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.inference.tta.task import SINGLE_LABEL, TINY, Array, Task, softmax
from service.package.manifest import Aggregation

__all__ = ["TINY", "Array", "aggregate", "softmax", "temper"]


def aggregate(
    logits: NDArray[np.floating],
    how: Aggregation,
    weights: tuple[float, ...] | None = None,
    task: Task = SINGLE_LABEL,
) -> Array:
    """logits [..., V, K] -> probabilities float64[..., K]; those of a single label sum to 1.

    Raises:
        UsageError: `weighted` without weights, or with weights of another number of views.
    """
    if how == "logit_mean":
        return task.probabilities(logits.mean(axis=-2))
    probabilities = task.probabilities(logits)
    if how == "mean":
        return probabilities.mean(axis=-2)
    if how == "max":
        return task.normalized(probabilities.max(axis=-2))
    if how == "gmean":
        return task.probabilities(task.logits(probabilities).mean(axis=-2))
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


def blend(first: Array, second: Array, share: float) -> Array:
    """The answer of two passes: `share` of the second's probabilities, the rest of the first's."""
    return share * second + (1 - share) * first


def temper(probabilities: Array, temperature: float, task: Task = SINGLE_LABEL) -> Array:
    """Refit confidence after aggregation: softmax(log p / T), or sigmoid(logit p / T).

    Guo et al., "On Calibration of Modern Neural Networks" (arXiv:1706.04599), applied to the
    aggregated probabilities because averaging views changes how sure an answer looks.
    """
    if temperature == 1.0:
        return probabilities
    return task.probabilities(task.logits(probabilities) / temperature)
