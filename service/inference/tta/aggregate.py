"""Combine the answers of several views into one.

`mean` averages probabilities (the default, and what torchvision's and fastai's users expect);
`gmean` is the normalized geometric mean of probabilities; `logit_mean` averages logits before the
softmax; `max` takes each class's best view and normalizes; `weighted` is a mean of probabilities
with weights fitted on the calibration split.

In a multi-label model probabilities are sigmoids of each class, and nothing is normalized: with
`max` a class is in the image if one view shows it.
"""

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.inference.tta.task import SINGLE_LABEL, TINY, Array, Task, softmax
from service.package.manifest import Aggregation, Mode, ModeCalibration

__all__ = ["TINY", "Array", "aggregate", "aggregate_mode", "all_views", "softmax", "temper"]

DENSE_VIEWS = 5


def aggregate_mode(
    logits: NDArray[np.floating],
    how: Aggregation,
    fitted: ModeCalibration,
    task: Task = SINGLE_LABEL,
) -> Array:
    """The answer of the views of a mode, with the fitted values of the mode: see `aggregate`.

    `centre_dense` is a blend of two answers: that of the centre crop, and that of the dense pass,
    which counts `second_share`. Its first view is the centre crop.
    """
    if fitted.mode != "centre_dense":
        return aggregate(logits, how, fitted.view_weights, task)
    second = fitted.second_share
    shares = (1 - second, *[second / DENSE_VIEWS] * DENSE_VIEWS)
    views = all_views(logits, fitted.mode)
    return aggregate(views, how, fitted.view_weights, task, shares)


def all_views(logits: NDArray[np.floating], mode: Mode) -> NDArray[np.floating]:
    """Logits [..., V, K] of the passes of a mode. V is the same for images of every shape.

    If the dense pass of `centre_dense` is five exact crops, the centre crop ran once. It is then
    both the first and the last view.
    """
    if mode == "centre_dense" and logits.shape[-2] == DENSE_VIEWS:
        return np.concatenate([logits, logits[..., :1, :]], axis=-2)
    return logits


def aggregate(
    logits: NDArray[np.floating],
    how: Aggregation,
    weights: tuple[float, ...] | None = None,
    task: Task = SINGLE_LABEL,
    shares: tuple[float, ...] | None = None,
) -> Array:
    """logits [..., V, K] -> probabilities float64[..., K]; those of a single label sum to 1.

    `weights` are those of `weighted`. `shares` are the weights of the views in the means; without
    them all views have the same weight.

    Raises:
        UsageError: `weighted` without weights, or with weights of another number of views.
    """
    if how == "logit_mean":
        return task.probabilities(_mean(logits, shares) if shares else logits.mean(axis=-2))
    probabilities = task.probabilities(logits)
    if how == "mean":
        return _mean(probabilities, shares)
    if how == "max":
        return task.normalized(probabilities.max(axis=-2))
    if how == "gmean":
        return task.probabilities(_mean(task.logits(probabilities), shares))
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


def _mean(values: NDArray[np.floating], shares: tuple[float, ...] | None) -> Array:
    if shares is None:
        return values.mean(axis=-2, dtype=np.float64)
    return np.average(values.astype(np.float64), axis=-2, weights=shares)


def blend(first: Array, second: Array, share: float) -> Array:
    """The weighted mean of two answers; `share` is the weight of the second."""
    return share * second + (1 - share) * first


LEAST_ENTROPY = 0.01
"""The lowest entropy that `temper` uses, so that no answer becomes certain."""


def temper(
    probabilities: Array, temperature: float, task: Task = SINGLE_LABEL, power: float = 0.0
) -> Array:
    """Refit confidence after aggregation: softmax(log p / T), or sigmoid(logit p / T).

    T is `temperature` (Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599),
    applied to the aggregated probabilities because averaging views changes how sure an answer
    looks. With a `power` above 0, of a single label only, T also depends on the answer: it is
    `temperature` times H to this power, so an unsure answer gets a larger T (Balanya et al.,
    "Adaptive Temperature Scaling for Robust Calibration of Deep Neural Networks",
    arXiv:2208.00461). H is the entropy of the probabilities as a share of the largest possible.
    One T divides all classes, so the class of the answer stays the same.
    """
    if temperature == 1.0 and power == 0.0:
        return probabilities
    logits = task.logits(probabilities)
    # Only a single-label model has a power, and its logits are the logs of its probabilities.
    heat = temperature * relative_entropy(probabilities, logits) ** power if power else temperature
    return task.probabilities(logits / heat)


def relative_entropy(probabilities: Array, logs: Array) -> Array:
    """[..., K] and their logs -> [..., 1]: 1 where all are equal, at least `LEAST_ENTROPY`."""
    entropy = -(probabilities * logs).sum(axis=-1, keepdims=True)
    share = entropy / np.log(max(2, probabilities.shape[-1]))
    return np.minimum(np.maximum(share, LEAST_ENTROPY), 1.0)
