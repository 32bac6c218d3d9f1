"""Who is let in: the wait is learnt from answers, whatever an answer took."""

import pytest

from service.errors import Overloaded
from service.scheduler.admission import HEADROOM, Admission, NullObserver


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def answered_every(seconds: float, second_pass: int, images: int = 40) -> Admission:
    """Admission after `images` of one view each, answered one after another."""
    clock = Clock()
    admission = Admission(1000, NullObserver(), clock)
    for _ in range(images):
        with admission.admit(1, timeout_s=1e6):
            clock.now += seconds / 2
            admission.count(second_pass)
            clock.now += seconds / 2
            admission.count(-second_pass)
            admission.answered(1)
    return admission


@pytest.mark.parametrize("second_pass", [0, 4])
def test_the_wait_is_that_of_the_images_in_front(second_pass: int) -> None:
    admission = answered_every(0.1, second_pass)
    with admission.admit(1, 10), admission.admit(1, 10), admission.admit(1, 10):
        assert admission.wait_s(1) == pytest.approx(0.4)
        admission.count(second_pass)  # it was expected: nobody waits longer for it
        assert admission.wait_s(1) == pytest.approx(0.4)


def test_a_second_pass_counts_for_the_bound() -> None:
    admission = Admission(6, NullObserver())
    with admission.admit(1, 10):
        admission.count(4)
        admission.check(1, 10)
        with pytest.raises(Overloaded, match="QUINCUNX_MAX_QUEUE_VIEWS"):
            admission.check(2, 10)
        admission.count(-4)
    assert admission.views == 0


def test_pressure_reaches_one_where_refusals_begin() -> None:
    admission = answered_every(0.1, 0)
    with admission.admit(1, 10), admission.admit(1, 10):
        enough_s = 0.3 / HEADROOM  # three images in front
        assert admission.pressure(1, enough_s + 0.01) < 1
        admission.check(1, enough_s + 0.01)
        assert admission.pressure(1, enough_s - 0.01) > 1
        with pytest.raises(Overloaded, match="X-Request-Timeout-Ms"):
            admission.check(1, enough_s - 0.01)


def test_a_burst_of_answers_moves_the_rate_little_and_a_slower_machine_soon() -> None:
    clock = Clock()
    admission = Admission(1000, NullObserver(), clock)

    def answers(count: int, every_s: float) -> None:
        for _ in range(count):
            clock.now += every_s
            admission.answered(1)

    with admission.admit(1, 1e6):
        answers(1000, 0.01)
        answers(20, 0.0)
        assert admission.seconds_per_view == pytest.approx(0.01, rel=0.25)
        answers(150, 0.03)  # 4.5 s, at a third of the speed
        assert admission.seconds_per_view == pytest.approx(0.03, rel=0.25)


def test_what_failed_is_no_progress_but_took_its_time() -> None:
    clock = Clock()
    admission = Admission(1000, NullObserver(), clock)
    with admission.admit(1, 10):
        with admission.admit(1, 10):
            clock.now += 1.0  # and fails
        clock.now += 1.0
        admission.answered(1)
    assert admission.seconds_per_view == pytest.approx(2.0)
