"""Fit `adaptive`: the second pass, the weight of both passes, and when the gate opens.

The first pass is the crop that `none` serves. Only where the owner asks for a mean cost (a budget)
are cheaper first passes tried too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.inference.tta.aggregate import blend, softmax
from service.inference.tta.gate import gate_value
from service.package.manifest import Adaptive, Gate, Mode, ModeCalibration, Precision
from training.calibration import gates, tempering
from training.calibration.calibration_logits import CalibrationLogits
from training.calibration.plain import FittedMode
from training.calibration.tolerance import Tolerance
from training.evaluation.metrics import Probabilities

SHARES = (0.5, 0.75, 1.0)
"""How much the second pass may count in the answer of both."""
SERVED_AS: Mode = "five_crop"
"""With a budget, `adaptive` is fitted to give the answers of this mode as often as possible."""


@dataclass(frozen=True)
class Fitted:
    """One configuration of `adaptive`: its fitted values, its answers, and how it ranks."""

    entry: ModeCalibration
    gate: Gate
    good: bool
    crossed: Probabilities
    """Its answers, cross-fitted: see `training.calibration.tempering`."""
    nll: float
    """See `gates.Choice.nll`."""
    disagreement: float
    """The share of answers that differ from those of `SERVED_AS`."""

    @property
    def text(self) -> str:
        verdict = "" if self.good else ", not within the tolerance"
        return (
            f"the second pass counts {self.entry.second_share:.0%}, NLL {self.nll:.4f}; "
            f"gate on {self.gate.kind}, mean cost {self.gate.expected_cost:.3f} crops, "
            f"{self.disagreement:.1%} of the answers differ from {SERVED_AS}{verdict}"
        )


def best(tried: Sequence[Fitted], tolerance: Tolerance, budget: float | None = None) -> int:
    """The index of the configuration to use: the one with the best likelihood.

    With a `budget`: among the configurations within it that agree with `SERVED_AS` most often, up
    to the tolerance, the one with the best likelihood. The tolerance is one or two images, and such
    a small difference does not show which pair of passes is better. Likelihood uses every image.
    """

    def cost(one: int) -> float:
        return tried[one].gate.expected_cost

    everything = range(len(tried))
    if budget is None:
        return min(everything, key=lambda i: (tried[i].nll, cost(i)))
    affordable = [i for i in everything if cost(i) <= budget] or [min(everything, key=cost)]
    least = min(tried[i].disagreement for i in affordable)
    close = [i for i in affordable if tried[i].disagreement <= least + tolerance.top1]
    return min(close, key=lambda i: tried[i].nll)


def fit(
    precision: Precision,
    logits: CalibrationLogits,
    config: Adaptive,
    plain: Mapping[Mode, FittedMode],
    folds: tempering.Folds,
    tolerance: Tolerance,
    budget: float | None = None,
) -> Fitted:
    """Fit both temperatures, the share of the second pass and the gate of `config`."""
    first, labels = logits.first_pass(config), logits.labels
    raw = softmax(first.logits)
    alone = tempering.fit(raw, labels, folds)
    alone_crossed = tempering.cross_fitted(raw, labels, folds, alone.power > 0)
    second = plain[config.second]
    wanted = plain[SERVED_AS].crossed

    def with_share(share: float) -> Fitted:
        both = blend(alone_crossed, second.crossed, share)
        passes = gates.Passes(
            first_logits=first.logits,
            first=alone_crossed,
            second=tempering.cross_fitted(both, labels, folds, powered=False),
            first_cost=first.cost,
            second_cost=first.rest[config.second],
            reference=wanted,
        )
        choice = gates.choose(passes, labels, tolerance, budget)
        served_both = blend(alone.of(raw), second.probabilities, share)
        after = tempering.fit_once(served_both, labels, powered=False)

        def quantiles(gate: Gate) -> dict[str, float]:
            trusted = gate_value(first.logits, gate.kind) >= gate.threshold
            answers = np.where(trusted[:, None], alone.of(raw), after.of(served_both))
            return logits.quantiles(answers)

        entry = ModeCalibration(
            precision=precision,
            mode="adaptive",
            temperature=alone.temperature,
            temperature_power=alone.power,
            second_share=share,
            second_temperature=after.temperature,
            conformal=quantiles(choice.gate),
            gate=choice.gate,
            gate_curve=tuple(
                gate.model_copy(update={"conformal": quantiles(gate)}) for gate in choice.curve
            ),
        )
        trusted = gate_value(first.logits, choice.gate.kind) >= choice.gate.threshold
        crossed = np.where(trusted[:, None], passes.first, passes.second)
        apart = gates.disagreement(crossed, wanted)
        return Fitted(entry, choice.gate, choice.good, crossed, choice.nll, apart)

    tried = [with_share(share) for share in SHARES]
    return tried[best(tried, tolerance, budget)]
