"""The gate that is chosen is the cheapest that keeps the answers."""

from typing import get_args

import numpy as np
import pytest

from service.inference.tta.aggregate import softmax
from service.inference.tta.gate import gate_value
from service.package.manifest import GateKind
from training.calibration import gates
from training.evaluation.metrics import nll


@pytest.fixture(name="passes")
def _passes() -> tuple[gates.Passes, np.ndarray]:
    """A first pass that is wrong on exactly the images it is least sure of."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    hard = np.arange(200) < 30
    first = np.eye(4)[labels] * 6.0
    first[hard] = np.eye(4)[(labels[hard] + 1) % 4] * 0.5
    second = np.eye(4)[labels] * 6.0
    made = gates.Passes(
        first_logits=first + random.normal(0, 0.05, first.shape),
        first=softmax(first),
        second=softmax(second),
        first_cost=1.0,
        second_cost=1.5,
        reference=softmax(second),
    )
    return made, labels


def test_the_hard_images_are_sent_on_and_no_others(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    made, labels = passes
    choice = gates.choose(made, labels, gates.Tolerance(top1=0, nll=1e-6))
    sent_on = gate_value(made.first_logits, choice.gate.kind) < choice.gate.threshold
    np.testing.assert_array_equal(sent_on, np.arange(200) < 30)
    assert choice.gate.expected_cost == pytest.approx(1 + 0.15 * 1.5)


def test_a_looser_tolerance_is_never_dearer(passes: tuple[gates.Passes, np.ndarray]) -> None:
    made, labels = passes
    costs = [
        gates.choose(made, labels, gates.Tolerance(top1=t, nll=10)).gate.expected_cost
        for t in (0.0, 0.05, 0.15)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 1.0


def test_a_useless_first_pass_sends_everything_on(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    made, labels = passes
    random = np.random.default_rng(5)
    noise = random.normal(0, 1, (200, 4))
    useless = gates.Passes(noise, softmax(noise), made.second, 1.0, 1.5, made.second)
    gate = gates.choose(useless, labels, gates.Tolerance(top1=0, nll=0)).gate
    mixed = np.where(
        (gate_value(noise, gate.kind) >= gate.threshold)[:, None], useless.first, useless.second
    )
    assert nll(mixed, labels) <= nll(made.second, labels) + 1e-9
    assert gate.expected_cost > 2.2


def test_the_curve_rises_from_the_first_pass_to_both(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    costs = [gate.expected_cost for gate in gates.curve(passes[0], "margin")]
    assert costs == sorted(costs)
    assert costs[0] == 1.0
    assert costs[-1] == 2.5


def test_a_second_pass_that_is_not_good_enough_says_so(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    made, labels = passes
    weak = gates.Passes(made.first_logits, made.first, made.first, 1.0, 1.5, made.second)
    tolerance = gates.Tolerance(top1=0, nll=0)
    assert gates.choose(made, labels, tolerance).good
    assert not gates.choose(weak, labels, tolerance).good


def test_a_budget_is_spent_on_the_answers_of_the_reference(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    made, labels = passes
    tolerance = gates.Tolerance(top1=0, nll=0)
    for budget in (1.0, 1.1, 1.225, 2.5):
        gate = gates.choose(made, labels, tolerance, budget).gate
        assert gate.expected_cost <= budget
        sent_on = gate_value(made.first_logits, gate.kind) < gate.threshold
        got = np.where(sent_on[:, None], made.second, made.first)
        reached = (gates.disagreement(got, made.reference), nll(got, labels))
        for kind in get_args(GateKind):
            order = np.argsort(gate_value(made.first_logits, kind))
            for count in range(round((budget - 1) / 1.5 * len(labels)) + 1):
                mixed = made.first.copy()
                mixed[order[:count]] = made.second[order[:count]]
                other = (gates.disagreement(mixed, made.reference), nll(mixed, labels) + 1e-9)
                assert reached <= other
    assert not gates.choose(made, labels, tolerance, 0.9).good


def test_a_gate_of_a_budget_is_not_moved_by_labels(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    """Labels break ties only: where every gate agrees as often, the likelier answers win."""
    made, labels = passes
    tolerance = gates.Tolerance()
    other = (labels + 1) % 4
    one, two = (gates.choose(made, of, tolerance, 1.1).gate for of in (labels, other))
    shares = [
        gates.disagreement(
            np.where(
                (gate_value(made.first_logits, g.kind) < g.threshold)[:, None],
                made.second,
                made.first,
            ),
            made.reference,
        )
        for g in (one, two)
    ]
    assert shares[0] == shares[1]
