"""Choose when `adaptive` may stop after its first pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from service.inference.tta.gate import gate_value
from service.package.manifest import Gate, GateKind
from training.calibration.tolerance import Tolerance
from training.evaluation.metrics import Labels, Probabilities, losses, nll

ONE_SIDED = 1.645
"""Standard errors that a mean stays within on one side, with a probability of 95%."""
CURVE_SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Passes:
    """Both passes over the calibration split: logits of the first, calibrated answers of both.

    The second half of the images are the mirror images of the first half.
    """

    first_logits: NDArray[np.float64]
    first: Probabilities
    """The answers of the first pass alone, cross-fitted: see `training.calibration.tempering`."""
    second: Probabilities
    """The answers of both passes together, cross-fitted."""
    first_cost: float
    second_cost: float
    reference: Probabilities
    """With a budget: the answers to agree with."""


@dataclass(frozen=True)
class Choice:
    """The chosen gate, and the curve of gates of its kind."""

    gate: Gate
    nll: float
    """NLL of the gate that costs most within the limit; with a budget, of the chosen gate."""
    good: bool
    """With a budget: whether its answers are within the tolerance of the reference."""
    curve: tuple[Gate, ...]


def choose(
    passes: Passes, labels: Labels, tolerance: Tolerance, budget: float | None = None
) -> Choice:
    """The gate to use.

    For each measure of sureness the gate may open as often as `tolerance.cost` pays for. The one
    with the best likelihood is the reference; if it is no better than the first pass alone, the
    gate stays closed. A gate of the same measure that opens less often takes its place if its
    answers are no worse: see `no_worse`.

    With a `budget` in single crops: the gate within the budget that agrees most often with
    `passes.reference`. Agreement needs no labels. So a few hundred images can distinguish gates,
    where accuracy or likelihood would be decided by chance.
    """
    if budget is not None:
        return _closest(passes, labels, tolerance, budget)
    closed = _gate(passes, "probability", gate_value(passes.first_logits, "probability"), 0)
    best = (nll(passes.first, labels), closed, passes.first)
    affordable = (tolerance.cost - passes.first_cost) / passes.second_cost
    most = int(min(1.0, max(0.0, affordable)) * len(labels) + 1e-9)
    for kind in get_args(GateKind):
        gate, mixed = _opened(passes, kind, most)
        if (likelihood := nll(mixed, labels)) < best[0]:
            best = (likelihood, gate, mixed)
    likelihood, gate, reference = best
    if gate is not closed:
        for cheaper, mixed in _candidates(passes, gate.kind):
            if cheaper.expected_cost >= gate.expected_cost:
                break
            if no_worse(mixed, reference, labels, tolerance):
                gate = cheaper
                break
    return Choice(gate, likelihood, True, tuple(curve(passes, gate.kind)))


def _closest(passes: Passes, labels: Labels, tolerance: Tolerance, budget: float) -> Choice:
    """The gate within `budget` that agrees most with the reference; of equal ones, the least NLL.

    If the first pass alone costs more than the budget, the choice is not good.
    """
    affordable = [
        (
            (disagreement(mixed, passes.reference), nll(mixed, labels)),
            gate,
            good_enough(mixed, passes.reference, labels, tolerance),
        )
        for kind in get_args(GateKind)
        for gate, mixed in _candidates(passes, kind)
        if gate.expected_cost <= budget
    ]
    if not affordable:
        gate = _gate(passes, "probability", gate_value(passes.first_logits, "probability"), 0)
        return Choice(gate, nll(passes.first, labels), False, tuple(curve(passes, "probability")))
    (_, likelihood), gate, good = min(affordable, key=lambda one: one[0])
    return Choice(gate, likelihood, good, tuple(curve(passes, gate.kind)))


def disagreement(answers: Probabilities, reference: Probabilities) -> float:
    """The share of images whose class differs from the reference's."""
    return float((answers.argmax(1) != reference.argmax(1)).mean())


def curve(passes: Passes, kind: GateKind) -> list[Gate]:
    """Gates of one kind by rising cost, for users who want to spend more or less."""
    values = gate_value(passes.first_logits, kind)
    return [_gate(passes, kind, values, round(share * len(values))) for share in CURVE_SHARES]


def _opened(passes: Passes, kind: GateKind, sent_on: int) -> tuple[Gate, Probabilities]:
    """The gate that opens for the `sent_on` least sure images, and the answers with it."""
    values = gate_value(passes.first_logits, kind)
    least_sure = np.argsort(values, kind="stable")[:sent_on]
    mixed = passes.first.copy()
    mixed[least_sure] = passes.second[least_sure]
    return _gate(passes, kind, values, sent_on), mixed


def _candidates(passes: Passes, kind: GateKind) -> Iterator[tuple[Gate, Probabilities]]:
    """Every gate of a kind by rising cost, with the answers with it."""
    values = gate_value(passes.first_logits, kind)
    mixed = passes.first.copy()
    yield _gate(passes, kind, values, 0), mixed
    for sent_on, image in enumerate(np.argsort(values, kind="stable"), start=1):
        mixed[image] = passes.second[image]
        yield _gate(passes, kind, values, sent_on), mixed


def _gate(passes: Passes, kind: GateKind, values: NDArray[np.float64], sent_on: int) -> Gate:
    ordered = np.sort(values)
    if sent_on == 0:
        threshold = float(ordered[0]) - 1.0
    elif sent_on == len(ordered):
        threshold = float(ordered[-1]) + 1.0
    else:
        threshold = float(ordered[sent_on - 1] + ordered[sent_on]) / 2
    share = float((values < threshold).mean())
    cost = passes.first_cost + share * passes.second_cost
    return Gate(kind=kind, threshold=round(threshold, 8), expected_cost=round(cost, 4))


def good_enough(
    answers: Probabilities, reference: Probabilities, labels: Labels, tolerance: Tolerance
) -> bool:
    """Whether accuracy and NLL, as measured, are within `tolerance` of the reference's."""
    lost = (reference.argmax(1) == labels).mean() - (answers.argmax(1) == labels).mean()
    worse = nll(answers, labels) - nll(reference, labels)
    return bool(lost <= tolerance.top1 + 1e-12 and worse <= tolerance.nll)


def no_worse(
    answers: Probabilities, reference: Probabilities, labels: Labels, tolerance: Tolerance
) -> bool:
    """Whether accuracy and NLL are within `tolerance` of the reference's, with 95% confidence.

    The upper ends of the paired intervals must be within it: `bounds` of the share of lost answers
    (spoiled minus corrected) and of the loss in NLL.
    """
    right = (p.argmax(1) == labels for p in (reference, answers))
    lost = np.subtract(*(one.astype(np.float64) for one in right))
    worse = losses(answers, labels) - losses(reference, labels)
    return bool(
        bounds(lost)[1] <= tolerance.top1 + 1e-12 and bounds(worse)[1] <= tolerance.nll + 1e-12
    )


def bounds(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Lower and upper 95% bound, each one-sided, of the mean of paired differences: [N].

    The second half of N are the mirror images of the first half. An image and its mirror image are
    one observation.
    """
    images = len(differences) // 2
    own = (differences[:images] + differences[images:]) / 2
    reach = ONE_SIDED * float(own.std()) / np.sqrt(images)
    return float(own.mean() - reach), float(own.mean() + reach)
