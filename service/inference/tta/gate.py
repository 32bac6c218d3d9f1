"""How sure the first pass is. There are four measures, larger means surer; a package uses one."""

import numpy as np
from numpy.typing import NDArray

from service.inference.tta.aggregate import TINY, Array, softmax
from service.package.manifest import GateKind


def gate_value(
    logits: NDArray[np.floating], kind: GateKind, probabilities: Array | None = None
) -> NDArray[np.float64]:
    """logits [..., K] -> sureness [...].

    The first pass is trusted if it is at or above a threshold.

    `probabilities` [..., K] are the softmax of the logits, where the caller has computed it.

    `probability` of the top class, `margin` to the second, negative `entropy`, and the top
    `normalized_logits`: the logits' distance from their mean in units of their own spread, which
    label smoothing and mixup distort least (they flatten all logits together).
    """
    if kind == "normalized_logits":
        values = logits.astype(np.float64)
        spread = values.std(axis=-1)
        return (values.max(axis=-1) - values.mean(axis=-1)) / np.maximum(spread, TINY)
    if probabilities is None:
        probabilities = softmax(logits)
    if kind == "probability":
        return probabilities.max(axis=-1)
    if kind == "margin":
        top = np.sort(probabilities, axis=-1)
        return top[..., -1] - (top[..., -2] if top.shape[-1] > 1 else 0.0)
    return (probabilities * np.log(np.maximum(probabilities, TINY))).sum(axis=-1)
