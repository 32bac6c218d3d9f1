"""Choose when `adaptive` may stop after its first pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from service.inference.tta.gate import gate_value
from service.package.manifest import Gate, GateKind
from training.evaluation.metrics import Labels, Probabilities, nll

CURVE_SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Tolerance:
    """How much worse answers may be than those of the best second pass on every image."""

    top1: float = 0.002
    nll: float = 0.01


@dataclass(frozen=True)
class Passes:
    """Both passes over the calibration split: logits of the first, calibrated answers of both."""

    first_logits: NDArray[np.float64]
    first: Probabilities
    second: Probabilities
    first_cost: float
    second_cost: float
    reference: Probabilities
    """The reference answers."""


@dataclass(frozen=True)
class Choice:
    """The chosen gate, and the curve of gates of its kind."""

    gate: Gate
    good: bool
    """Whether its answers are within the tolerance. False if `second` on every image is not."""
    curve: tuple[Gate, ...]


def choose(
    passes: Passes, labels: Labels, tolerance: Tolerance, budget: float | None = None
) -> Choice:
    """The gate with the least mean cost whose answers are within `tolerance` of the reference's.

    With a `budget` in single crops: the gate within the budget that agrees most often with the
    reference. Agreement needs no labels. So a few hundred images can distinguish gates, where
    accuracy or likelihood would be decided by chance.

    Every kind of gate is tried at every share of images that get a second pass, in steps of one
    image. The threshold of a share is the midpoint between two neighbouring values.
    """
    if budget is not None:
        return _closest(passes, labels, tolerance, budget)
    values = gate_value(passes.first_logits, "probability")
    everything = _gate(passes, "probability", values, len(values))
    best: tuple[float, float, Gate] = (everything.expected_cost, float("inf"), everything)
    for kind in get_args(GateKind):
        for gate, mixed in _candidates(passes, kind):
            if not good_enough(mixed, passes.reference, labels, tolerance):
                continue
            rank = (gate.expected_cost, nll(mixed, labels))
            if rank < best[:2]:
                best = (*rank, gate)
            break  # candidates are in order of rising cost
    gate = best[2]
    return Choice(gate, best[1] < float("inf"), tuple(curve(passes, gate.kind)))


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
        return Choice(gate, False, tuple(curve(passes, "probability")))
    _, gate, good = min(affordable, key=lambda one: one[0])
    return Choice(gate, good, tuple(curve(passes, gate.kind)))


def disagreement(answers: Probabilities, reference: Probabilities) -> float:
    """The share of images whose class differs from the reference's."""
    return float((answers.argmax(1) != reference.argmax(1)).mean())


def curve(passes: Passes, kind: GateKind) -> list[Gate]:
    """Gates of one kind by rising cost, for users who want to spend more or less."""
    values = gate_value(passes.first_logits, kind)
    return [_gate(passes, kind, values, round(share * len(values))) for share in CURVE_SHARES]


def _candidates(passes: Passes, kind: GateKind) -> Iterator[tuple[Gate, Probabilities]]:
    """Every gate of a kind by rising cost, with the answers that result."""
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
    """Whether accuracy and NLL are within `tolerance` of the reference's."""
    lost = (reference.argmax(1) == labels).mean() - (answers.argmax(1) == labels).mean()
    worse = nll(answers, labels) - nll(reference, labels)
    return bool(lost <= tolerance.top1 + 1e-12 and worse <= tolerance.nll)
