"""Which pair of passes `adaptive` gets."""

from pathlib import Path

import numpy as np

from service.package.manifest import Adaptive, Gate, Graph, ModeCalibration
from service.package.package import ModelPackage
from training.calibration import adaptive
from training.calibration.configurations import first_passes, pairs
from training.calibration.tolerance import Tolerance

TOLERANCE = Tolerance(top1=0.002)
MODES = ("none", "five_crop", "dense")


def fitted(
    cost: float, *, nll: float, disagreement: float = 0.0, good: bool = True
) -> adaptive.Fitted:
    gate = Gate(kind="margin", threshold=0.5, expected_cost=cost)
    entry = ModeCalibration(precision="fp32", mode="adaptive", temperature=1.0, gate=gate)
    return adaptive.Fitted(entry, gate, good, np.ones((1, 1)), nll, disagreement)


def test_without_a_budget_likelihood_decides() -> None:
    tried = [fitted(1.2, nll=0.3), fitted(1.2, nll=0.1), fitted(1.1, nll=0.2)]
    assert adaptive.best(tried, TOLERANCE) == 1


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


def test_a_budget_may_end_with_the_served_crop_but_not_run_it_twice(package: Path) -> None:
    manifest = ModelPackage.load(package).manifest
    sizes = manifest.input
    firsts = first_passes(manifest, cheaper=True)
    ending = [p for p in pairs(firsts, sizes, MODES, cheaper=True) if p.second == "none"]
    assert Adaptive(first_px=sizes.crop_px, second="none") in ending
    served = Adaptive(first_px=sizes.resize_px, first_crop_px=sizes.crop_px, second="none")
    assert served not in ending


def test_without_a_budget_the_served_crop_comes_first(package: Path) -> None:
    manifest = ModelPackage.load(package).manifest
    firsts = first_passes(manifest, cheaper=False)
    tried = pairs(firsts, manifest.input, MODES, cheaper=False)
    assert {(p.first_px, p.first_crop_px) for p in tried} == {
        (manifest.input.resize_px, manifest.input.crop_px)
    }
    assert [p.second for p in tried] == ["dense", "five_crop"]


def test_a_graph_of_one_size_gets_crops_only(package: Path) -> None:
    manifest = ModelPackage.load(package).manifest
    fixed = manifest.model_copy(update={"graph": Graph(kind="crops")})
    firsts = first_passes(fixed, cheaper=True)
    tried = pairs(firsts, fixed.input, ("none", "five_crop", "ten_crop"), cheaper=True)
    assert [(p.first_crop_px, p.second) for p in tried] == [(fixed.input.crop_px, "five_crop")]
