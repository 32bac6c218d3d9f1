"""Refusals in bunches: one rest for all of a turn, and no longer than is fair."""

import asyncio

from service.api.http.rejection_throttle import LONGEST_S, SHARE, RejectionThrottle


def rests(turns: list[int], wait_s: float = 1.0) -> list[tuple[int, float]]:
    """Where so many requests are refused in each turn of the loop: in which turns it rests, and
    how long."""
    slept: list[tuple[int, float]] = []
    turn = 0

    async def main() -> None:
        nonlocal turn
        moderation = RejectionThrottle(
            lambda: wait_s, lambda seconds: slept.append((turn, seconds))
        )
        for turn, refusals in enumerate(turns):  # noqa: B007
            for _ in range(refusals):
                moderation.refused()
            await asyncio.sleep(0)

    asyncio.run(main())
    return slept


def test_all_refusals_of_one_turn_share_a_rest() -> None:
    assert rests([5, 0, 0, 0]) == [(0, LONGEST_S)]


def test_between_two_rests_a_turn_answers_what_came_during_the_first() -> None:
    assert [turn for turn, _ in rests([1] * 9)] == [0, 2, 4, 6, 8]


def test_a_loop_that_refuses_nothing_never_rests() -> None:
    assert rests([0, 0, 0]) == []


def test_it_rests_a_small_share_of_what_images_wait_and_never_long() -> None:
    assert rests([1, 0], wait_s=0.1) == [(0, 0.1 * SHARE)]
    assert rests([1, 0], wait_s=60.0) == [(0, LONGEST_S)]
    assert rests([1, 0], wait_s=0.0) == [(0, 0.0)]
