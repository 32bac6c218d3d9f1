"""Compare the answers of an fp16 graph with those of the fp32 graph that it was derived from.

Two things are checked. First, whether numbers became too large or too small for float16. The logits
show this: rounding moves them by 0.1 to 0.5% of their range, but an overflow or underflow moves
them by much more. Second, whether the answers agree with fp32. The mean over several pictures shows
this. The largest difference of one picture does not: if two classes are equally likely, the
rounding of large logits moves their probabilities by .01 to .02, and a picture has two such classes
only by chance.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.inference.runtime.session import Session
from service.inference.tta.task import TASKS, Task
from service.package.manifest import Manifest

MOST_OF_LOGITS, MOST_OF_PROBABILITIES = 2e-2, 1e-2
"""The largest differences that count as agreement."""
METHOD = 2
"""The version of the comparison. Results of another version are not used."""
CELLS_PX = (8, 32, 96)
"""Sides of the cells in pictures of random cells: from noise to large areas."""
BATCH = 4

Logits = NDArray[np.floating]


@dataclass(frozen=True)
class Agreement:
    """The differences that were seen."""

    logits: float
    """The largest difference, as a share of the largest distance of a logit from their mean."""
    probabilities: float
    """The largest difference of each picture, averaged over the pictures."""

    @property
    def good(self) -> bool:
        # NaN is larger than no limit, so the comparison must not be turned round.
        return (
            self.logits <= MOST_OF_LOGITS and self.probabilities <= MOST_OF_PROBABILITIES
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"logits differ by {self.logits:.1e} of their range (the limit is {MOST_OF_LOGITS:g}), "
            f"probabilities by {self.probabilities:.1e} (the limit is {MOST_OF_PROBABILITIES:g})"
        )


def compare(fp32: Session, fp16: Session, manifest: Manifest) -> Agreement:
    """Run both graphs on drawn pictures.

    Raises:
        InferenceFailed: a graph fails.
    """
    pictures = list(drawn(manifest.input.crop_px))
    expected, got = (
        np.concatenate([session.run(batch, "logits") for batch in pictures])
        for session in (fp32, fp16)
    )
    return between(expected, got, TASKS[manifest.task])


def between(expected: Logits, got: Logits, task: Task) -> Agreement:
    """The agreement of logits [N, K] of N pictures."""
    wide = expected.astype(np.float64)
    # Adding a constant to all logits does not change the answer, so a constant must not hide a
    # difference.
    reach = max(float(np.abs(wide - wide.mean()).max()), float(np.finfo(np.float32).tiny))
    probabilities = np.abs(task.probabilities(expected) - task.probabilities(got))
    return Agreement(
        logits=float(np.abs(wide - got).max()) / reach,
        probabilities=float(probabilities.max(axis=1).mean()),
    )


def drawn(side_px: int) -> Iterator[NDArray[np.uint8]]:
    """Batches uint8[BATCH, S, S, 3]: random cells of several sizes, and one colour each."""
    dice = np.random.default_rng(0)
    for cell_px in (*CELLS_PX, side_px):
        cells = -(-side_px // cell_px)
        coarse = dice.integers(0, 256, (BATCH, cells, cells, 3), dtype=np.uint8)
        fine = coarse.repeat(cell_px, axis=1).repeat(cell_px, axis=2)
        yield np.ascontiguousarray(fine[:, :side_px, :side_px])
