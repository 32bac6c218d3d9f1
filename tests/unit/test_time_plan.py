"""`--minutes`: a run ends in its time, with its schedule complete, whatever its speed."""

import random
from collections.abc import Callable

import pytest

from service.errors import UsageError
from training.fit.loop.time_plan import TimePlan
from training.recipe import Stage

STAGE = Stage(300, 128, schedule="cosine", grow_at_share=((0.3, 160), (0.75, 192)))
Speed = Callable[[int, float], float]


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(plan: TimePlan, clock: Clock, speed: Speed, epochs: int = 10**6) -> list[tuple[int, float]]:
    """Train in pretended time: the size of each epoch, and where in the schedule it began."""
    done: list[tuple[int, float]] = []
    while not plan.complete and len(done) < epochs:
        plan.begin_epoch()
        done.append((plan.size_px(), plan.at(0)))
        clock.now += speed(plan.size_px(), clock.now - 1000)
        plan.end_epoch()
        clock.now += 0.1  # a checkpoint
    return done


def by_pixels(size_px: int, _: float) -> float:
    return 1.2 * (size_px / 128) ** 2


def constant(*_: float) -> float:
    return 7.0


def slower_later(size_px: int, now: float) -> float:
    return by_pixels(size_px, now) * (1 if now < 200 else 1.6)


def noisy(size_px: int, now: float) -> float:
    return by_pixels(size_px, now) * random.Random(now).uniform(0.8, 1.3)


@pytest.mark.parametrize("speed", [by_pixels, constant, slower_later, noisy])
@pytest.mark.parametrize("minutes", [1.5, 8.0])
def test_a_run_ends_in_its_time_with_its_schedule_complete(speed: Speed, minutes: float) -> None:
    clock = Clock()
    plan = TimePlan(minutes, STAGE, clock=clock)
    clock.now += 10  # reading the data counts
    epochs = run(plan, clock, speed)
    assert plan.epochs == len(epochs) == len(plan.positions) - 1
    assert plan.positions[-1] == 1
    spent_s = clock.now - 1000
    longest_s = max(speed(192, now) for now in range(0, int(60 * minutes), 7))
    assert 60 * minutes * 0.95 - 2 * longest_s <= spent_s <= 60 * minutes
    sizes = [size_px for size_px, _ in epochs]
    assert sizes == sorted(sizes)
    assert set(sizes) == {128, 160, 192}
    for size_px, position in epochs:
        assert size_px == (128 if position < 0.3 else 160 if position < 0.75 else 192)
    steps = [b - a for a, b in zip(plan.positions, plan.positions[1:], strict=False)]
    assert min(steps) > 0


def test_a_resumed_run_keeps_its_plan_and_its_time() -> None:
    clock = Clock()
    plan = TimePlan(8, STAGE, clock=clock)
    run(plan, clock, by_pixels, epochs=40)
    saved = plan.to_json()
    clock.now += 5000  # stopped in between
    resumed = TimePlan(8, STAGE, saved, clock)
    assert (resumed.epochs, resumed.positions) == (plan.epochs, plan.positions)
    assert resumed.at(0.5) == plan.at(0.5)
    clock.now += 3
    run(resumed, clock, by_pixels)
    assert resumed.complete
    assert 60 * 8 * 0.9 <= resumed.spent_s() <= 60 * 8


def test_with_time_for_little_the_schedule_still_ends() -> None:
    clock = Clock()
    plan = TimePlan(0.1, STAGE, clock=clock)
    assert len(run(plan, clock, constant)) == 2
    assert plan.positions[-1] == 1


def test_an_epoch_that_does_not_fit_is_refused_while_it_runs() -> None:
    clock = Clock()
    plan = TimePlan(1, STAGE, clock=clock)
    plan.begin_epoch()
    clock.now += 10
    plan.check_first_epoch(0.5)
    with pytest.raises(UsageError, match="one epoch takes about 100 s"):
        plan.check_first_epoch(0.1)
    with pytest.raises(UsageError, match="--minutes must be above 0, but got 0"):
        TimePlan(0, STAGE)


@pytest.mark.parametrize(("minutes", "late"), [(0.1, True), (10, False)])
def test_a_run_that_took_longer_says_so(minutes: float, late: bool) -> None:
    """An epoch of few batches is over before its speed is known."""
    clock = Clock()
    plan = TimePlan(minutes, Stage(1, 128, schedule="cosine"), clock=clock)
    run(plan, clock, constant, epochs=1)
    assert (
        plan.overrun().startswith("warning: the training took 7 s, more than --minutes 0.1 (6 s)")
        == late
    )
    assert bool(plan.overrun()) == late
