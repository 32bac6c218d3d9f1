"""Fit `adaptive`: the first pass, the second pass, the weight of both, and when the gate opens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.inference.tta.aggregate import aggregate_mode, blend, softmax, temper
from service.inference.tta.gate import gate_value
from service.package.manifest import (
    STRIDE_PX,
    Adaptive,
    Gate,
    InputSize,
    Mode,
    ModeCalibration,
    Precision,
)
from training.calibration import fitting, gates
from training.calibration.calibration_logits import AUGMENTED, SECONDS, CalibrationLogits
from training.calibration.gates import Tolerance
from training.evaluation.metrics import Probabilities, nll

LEAST_SHARE = 0.05
SERVED_AS: Mode = "five_crop"
"""With a budget, `adaptive` is fitted to give the answers of this mode as often as possible."""


def candidates(sizes: InputSize) -> list[Adaptive]:
    """First passes worth trying, up to the cost of one crop.

    These are whole images (pooled over everything, or with the border counting half), and centre
    crops.
    """
    sides = range(2 * STRIDE_PX, sizes.crop_px + 1, STRIDE_PX)
    whole = [Adaptive(first_px=side, first_inset=half) for side in sides for half in (False, True)]
    crops = [Adaptive(first_px=side + STRIDE_PX, first_crop_px=side) for side in sides]
    return list({c.model_dump_json(): c for c in (*whole, *crops, _served(sizes))}.values())


def _served(sizes: InputSize) -> Adaptive:
    """The crop of `none` as a first pass."""
    return Adaptive(first_px=sizes.resize_px, first_crop_px=sizes.crop_px)


def pairs(firsts: list[Adaptive], sizes: InputSize, budget: float | None = None) -> list[Adaptive]:
    """Every first pass with every second pass that leaves something to run.

    Without a `budget` answers are compared with those of the best second pass, so it must be one of
    test-time augmentation. With a budget, which may be less than a crop, the second pass may also
    be the served crop.
    """
    return [
        first.model_copy(update={"second": second})
        for first in firsts
        for second in (AUGMENTED if budget is None else SECONDS)
        if second != "none" or first != _served(sizes)
    ]


def describe(config: Adaptive) -> str:
    """Both passes in words."""
    first = f"whole image at {config.first_px} px"
    if config.first_crop_px:
        first = f"centre {config.first_crop_px} px of {config.first_px}"
    border = ", its border counting half" if config.first_inset else ""
    second = "the served crop" if config.second == "none" else config.second
    return f"{first}{border}, then {second}"


@dataclass(frozen=True)
class Fitted:
    """One configuration of `adaptive`: its fitted values, its answers, and how it ranks."""

    entry: ModeCalibration
    gate: Gate
    good: bool
    probabilities: Probabilities
    nll: float
    disagreement: float
    """The share of answers that differ from those of `SERVED_AS`."""

    @property
    def text(self) -> str:
        verdict = "" if self.good else ", not within the tolerance"
        return (
            f"gate on {self.gate.kind}, {self.gate.expected_cost:.3f} crops expected, "
            f"{self.disagreement:.1%} other answers than {SERVED_AS}{verdict}"
        )


def best(tried: Sequence[Fitted], tolerance: Tolerance, budget: float | None = None) -> int:
    """The index of the configuration to use: the cheapest good one.

    With a `budget`: among the configurations within it that agree with `SERVED_AS` most often, up
    to the tolerance, the one with the best likelihood. The tolerance is one or two images, and such
    a small difference does not show which pair of passes is better. Likelihood uses every image.
    """

    def cost(one: int) -> float:
        return tried[one].gate.expected_cost

    everything = range(len(tried))
    if budget is None:
        return min(everything, key=lambda i: (not tried[i].good, cost(i), tried[i].nll))
    affordable = [i for i in everything if cost(i) <= budget] or [min(everything, key=cost)]
    least = min(tried[i].disagreement for i in affordable)
    close = [i for i in affordable if tried[i].disagreement <= least + tolerance.top1]
    return min(close, key=lambda i: tried[i].nll)


def fit(
    precision: Precision,
    logits: CalibrationLogits,
    config: Adaptive,
    plain: dict[Mode, ModeCalibration],
    tolerance: Tolerance,
    budget: float | None = None,
) -> Fitted:
    """Fit both temperatures, the share of the second pass and the gate of `config`.

    The reference is the second pass with the better likelihood, run on every image. With a `budget`
    in single crops, the reference is always `SERVED_AS`. The mixture with the best likelihood is
    not always the most accurate one, so the second pass alone is tried too.
    """
    first, labels = logits.first_pass(config), logits.labels
    temperature = fitting.temperature(softmax(first.logits), labels)
    alone = temper(softmax(first.logits), temperature)
    second = tempered(logits, config.second, plain)
    augmented = [tempered(logits, mode, plain) for mode in AUGMENTED]
    likelier = min(augmented, key=lambda answers: nll(answers, labels))
    wanted = tempered(logits, SERVED_AS, plain)

    def with_share(share: float) -> Fitted:
        both = blend(alone, second, share)
        second_temperature = fitting.temperature(both, labels)
        passes = gates.Passes(
            first_logits=first.logits,
            first=alone,
            second=temper(both, second_temperature),
            first_cost=first.cost,
            second_cost=first.rest[config.second],
            reference=likelier if budget is None else wanted,
        )
        choice = gates.choose(passes, labels, tolerance, budget)
        answers = _answers(passes, choice.gate)
        entry = ModeCalibration(
            precision=precision,
            mode="adaptive",
            temperature=round(temperature, 6),
            second_share=share,
            second_temperature=round(second_temperature, 6),
            conformal=logits.quantiles(answers),
            gate=choice.gate,
            gate_curve=tuple(
                gate.model_copy(update={"conformal": logits.quantiles(_answers(passes, gate))})
                for gate in choice.curve
            ),
        )
        apart = gates.disagreement(answers, wanted)
        return Fitted(entry, choice.gate, choice.good, answers, nll(answers, labels), apart)

    likeliest = fitting.view_weights(np.stack([alone, second], axis=1), labels)[1]
    shares = {1.0, max(LEAST_SHARE, min(1.0, likeliest))}
    tried = [with_share(share) for share in sorted(shares)]
    return tried[best(tried, tolerance, budget)]


def tempered(
    logits: CalibrationLogits, mode: Mode, plain: dict[Mode, ModeCalibration]
) -> Probabilities:
    """The answers of a plain mode, with its fitted temperature."""
    raw = aggregate_mode(logits.views[mode], "mean", plain[mode])
    return temper(raw, plain[mode].temperature)


def _answers(passes: gates.Passes, gate: Gate) -> Probabilities:
    trusted = gate_value(passes.first_logits, gate.kind) >= gate.threshold
    return np.where(trusted[:, None], passes.first, passes.second)
