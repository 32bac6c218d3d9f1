"""Compare the answers of an fp16 graph with those of the fp32 graph that it was derived from."""

from dataclasses import dataclass

import numpy as np

from service.inference.runtime.session import Session
from service.inference.tta.task import TASKS
from service.package.manifest import Manifest

MOST_OF_LOGITS, MOST_OF_PROBABILITIES = 2e-2, 1e-2
"""The largest differences that count as agreement. fp16 rounds to about 1e-3."""
METHOD = 1
"""Changes with what is compared and how, so that older results are not used."""
PROBES = 4
CELL_PX = 8


@dataclass(frozen=True)
class Agreement:
    """The largest differences that were seen."""

    logits: float
    """As a share of the largest logit."""
    probabilities: float

    @property
    def good(self) -> bool:
        # NaN is larger than no limit, so the comparison must not be turned round.
        return (
            self.logits <= MOST_OF_LOGITS and self.probabilities <= MOST_OF_PROBABILITIES
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"logits differ by {self.logits:.1e} of the largest (the limit is {MOST_OF_LOGITS:g}), "
            f"probabilities by {self.probabilities:.1e} (the limit is {MOST_OF_PROBABILITIES:g})"
        )


def compare(fp32: Session, fp16: Session, manifest: Manifest) -> Agreement:
    """Run both graphs on drawn crops.

    Raises:
        InferenceFailed: a graph fails.
    """
    side_px, task = manifest.input.crop_px, TASKS[manifest.task]
    cells = -(-side_px // CELL_PX)
    coarse = np.random.default_rng(0).integers(0, 256, (PROBES, cells, cells, 3), dtype=np.uint8)
    fine = coarse.repeat(CELL_PX, axis=1).repeat(CELL_PX, axis=2)
    crops = np.ascontiguousarray(fine[:, :side_px, :side_px])
    expected, got = (session.run(crops, "logits") for session in (fp32, fp16))
    largest = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    probabilities = np.abs(task.probabilities(expected) - task.probabilities(got)).max()
    return Agreement(float(np.abs(expected - got).max()) / largest, float(probabilities))
