"""The values from which the unknown score of an answer is computed, over its views."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.inference.tta.aggregate import all_views
from service.inference.tta.passes import PassOutputs
from service.inference.tta.planner import Plan
from service.package.manifest import ModeCalibration

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Evidence:
    """The mean embedding and the mean logits of an answer.

    Views count as in the aggregation `mean`. A pass over the whole image has one embedding, that
    of the image, and the logits of its windows.
    """

    embedding: Array
    """[C]."""
    logits: Array
    """[K]."""

    @classmethod
    def of(cls, read: PassOutputs, fitted: ModeCalibration) -> "Evidence | None":
        """The evidence of the passes of a mode; None if the graph has no embedding."""
        if not read.embeddings:
            return None
        embeddings, logits = np.stack(read.embeddings), read.logits
        if fitted.mode != "centre_dense":
            return cls(_mean(embeddings), _mean(logits))
        # If the dense pass is five exact crops, the centre is one of them, and runs once.
        dense = embeddings[1:] if len(embeddings) == 2 else embeddings
        centre = cls(embeddings[0].astype(np.float64), logits[0].astype(np.float64))
        windows = all_views(logits, fitted.mode)[1:]
        return blended(centre, cls(_mean(dense), _mean(windows)), fitted.second_share)


def blended(first: Evidence | None, second: Evidence | None, share: float) -> Evidence | None:
    """The evidence of two answers, of which the second has the weight `share`."""
    if first is None or second is None:
        return None
    return Evidence(
        (1 - share) * first.embedding + share * second.embedding,
        (1 - share) * first.logits + share * second.logits,
    )


def second_outputs(plan: Plan, first: PassOutputs, rest: PassOutputs) -> PassOutputs:
    """The logits and embeddings of the second passes, including the crop that `first` ran."""
    if len(plan.rest) == len(plan.second):
        return rest
    # Crops, one row each: a pass with windows is never among the first.
    logits, embeddings = iter(rest.logits), iter(rest.embeddings)
    again = [one in plan.first for one in plan.second]
    return replace(
        rest,
        logits=np.stack([first.logits[0] if ran else next(logits) for ran in again]),
        embeddings=tuple(first.embeddings[0] if ran else next(embeddings) for ran in again)
        if rest.embeddings
        else (),
    )


def _mean(rows: NDArray[np.floating]) -> Array:
    return rows.mean(axis=0, dtype=np.float64)


def stacked(rows: Sequence[Evidence]) -> Evidence:
    """The evidence of N answers as arrays [N, C] and [N, K]."""
    return Evidence(
        np.stack([row.embedding for row in rows]), np.stack([row.logits for row in rows])
    )
