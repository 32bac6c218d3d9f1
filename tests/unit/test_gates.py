"""The gate that is chosen is the cheapest that keeps the answers."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.tta.aggregate import aggregate, softmax
from service.inference.tta.gate import gate_value
from service.package.manifest import GateKind
from training.calibration import gates
from training.calibration.tolerance import Tolerance
from training.evaluation.metrics import nll

KINDS: tuple[GateKind, ...] = get_args(GateKind)
HARD = np.arange(200) % 100 < 15


@pytest.fixture(name="passes")
def _passes() -> tuple[gates.Passes, np.ndarray]:
    """A first pass that is wrong on exactly the images it is least sure of."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    first = np.eye(4)[labels] * 6.0
    first[HARD] = np.eye(4)[(labels[HARD] + 1) % 4] * 0.5
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


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40), st.sampled_from(list(KINDS))
)
def test_known_probabilities_give_the_same_bits(logits: list[float], kind: GateKind) -> None:
    """Serving passes the softmax of its only view, and calibration passes none."""
    own = np.array(logits, np.float32)
    probabilities = aggregate(own[None], "mean")
    assert gate_value(own, kind, probabilities) == gate_value(own, kind)
    rows = np.stack([own[::-1], own]).astype(np.float64)
    assert gate_value(rows, kind)[1] == gate_value(own, kind, probabilities)


def test_the_hard_images_are_sent_on_and_no_others(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    made, labels = passes
    choice = gates.choose(made, labels, Tolerance(top1=0, nll=1e-6, cost=2))
    sent_on = gate_value(made.first_logits, choice.gate.kind) < choice.gate.threshold
    np.testing.assert_array_equal(sent_on, HARD)
    assert choice.gate.expected_cost == pytest.approx(1 + 0.15 * 1.5)


@pytest.mark.parametrize("cost", [0.5, 1.0, 1.03, 1.1, 1.2, 2.5])
def test_the_gate_keeps_the_cost(passes: tuple[gates.Passes, np.ndarray], cost: float) -> None:
    made, labels = passes
    gate = gates.choose(made, labels, Tolerance(cost=cost)).gate
    assert gate.expected_cost <= max(1.0, cost)
    assert gate.expected_cost > min(1.0, cost - 0.02) or cost == 2.5


def test_a_second_pass_without_gain_is_not_run(passes: tuple[gates.Passes, np.ndarray]) -> None:
    made, labels = passes
    noise = softmax(np.random.default_rng(5).normal(0, 1, (200, 4)))
    for second in (made.first, noise):
        useless = gates.Passes(made.first_logits, made.first, second, 1.0, 1.5, second)
        choice = gates.choose(useless, labels, Tolerance())
        assert choice.gate.expected_cost == 1.0
        assert choice.nll == pytest.approx(nll(made.first, labels))


def test_a_looser_tolerance_is_never_dearer(passes: tuple[gates.Passes, np.ndarray]) -> None:
    made, labels = passes
    costs = [
        gates.choose(made, labels, Tolerance(top1=t, nll=10, cost=2)).gate.expected_cost
        for t in (0.0, 0.05, 0.15, 0.3)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 1.0


def test_a_loss_that_few_images_cannot_exclude_is_not_risked() -> None:
    """One lost answer of 200 is 0.5% as measured, and may be 1.3%: beyond a tolerance of 1%."""
    labels = np.zeros(400, dtype=np.int64)
    reference = np.tile([0.9, 0.1], (400, 1))
    answers = reference.copy()
    answers[[7, 207]] = [0.45, 0.55]  # an image and its mirror image
    assert gates.good_enough(answers, reference, labels, Tolerance(top1=0.01, nll=1))
    assert not gates.no_worse(answers, reference, labels, Tolerance(top1=0.01, nll=1))
    assert gates.no_worse(answers, reference, labels, Tolerance(top1=0.015, nll=1))
    assert gates.no_worse(reference, reference, labels, Tolerance(top1=0, nll=0))


def test_a_mirror_image_is_no_second_observation() -> None:
    own = np.random.default_rng(0).normal(0, 1, 300)
    low, high = gates.bounds(np.concatenate([own, own]))
    assert high - low == pytest.approx(2 * 1.645 * own.std() / np.sqrt(300))
    assert (low + high) / 2 == pytest.approx(own.mean())


def test_the_curve_rises_from_the_first_pass_to_both(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    costs = [gate.expected_cost for gate in gates.curve(passes[0], "margin")]
    assert costs == sorted(costs)
    assert costs[0] == 1.0
    assert costs[-1] == 2.5


def test_a_budget_is_spent_on_the_answers_of_the_reference(
    passes: tuple[gates.Passes, np.ndarray],
) -> None:
    made, labels = passes
    tolerance = Tolerance(top1=0, nll=0)
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
    tolerance = Tolerance()
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
