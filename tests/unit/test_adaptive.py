"""Which pair of passes `adaptive` gets."""

import numpy as np

from service.package.manifest import Adaptive, Gate, InputSize, ModeCalibration
from training.calibration import adaptive
from training.calibration.gates import Tolerance

TOLERANCE = Tolerance(top1=0.002)


def fitted(
    cost: float, *, nll: float, disagreement: float = 0.0, good: bool = True
) -> adaptive.Fitted:
    gate = Gate(kind="margin", threshold=0.5, expected_cost=cost)
    entry = ModeCalibration(precision="fp32", mode="adaptive", temperature=1.0, gate=gate)
    return adaptive.Fitted(entry, gate, good, np.ones((1, 1)), nll, disagreement)


def test_without_a_budget_the_cheapest_good_one_wins() -> None:
    tried = [
        fitted(0.7, nll=0.1, good=False),
        fitted(1.2, nll=0.1),
        fitted(1.1, nll=0.3),
        fitted(1.1, nll=0.2),
    ]
    assert adaptive.best(tried, TOLERANCE) == 3


def test_a_budget_buys_likelihood_where_agreement_is_about_the_same() -> None:
    tried = [
        fitted(0.8, nll=0.30, disagreement=0.013),
        fitted(0.8, nll=0.28, disagreement=0.015),  # two thousandths more: no difference
        fitted(0.8, nll=0.20, disagreement=0.016),
        fitted(0.9, nll=0.10, disagreement=0.0),  # beyond the budget
    ]
    assert adaptive.best(tried, TOLERANCE, 0.8) == 1


def test_a_budget_that_nothing_keeps_gets_the_cheapest() -> None:
    tried = [fitted(1.0, nll=0.1), fitted(0.9, nll=0.3), fitted(1.1, nll=0.1)]
    assert adaptive.best(tried, TOLERANCE, 0.5) == 1


def test_a_budget_may_end_with_the_served_crop_but_not_run_it_twice() -> None:
    sizes = InputSize(crop_px=64, resize_px=96)
    firsts = adaptive.candidates(sizes)
    assert all(pair.second != "none" for pair in adaptive.pairs(firsts, sizes))
    ending = [pair for pair in adaptive.pairs(firsts, sizes, 0.8) if pair.second == "none"]
    assert Adaptive(first_px=64, second="none") in ending
    assert Adaptive(first_px=96, first_crop_px=64, second="none") not in ending
