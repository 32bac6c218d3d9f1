"""After refusals the event loop rests: once for all refusals of a turn, and only shortly."""

import asyncio

from service.api.http.rejection_throttle import LONGEST_S, SHARE, RejectionThrottle


async def rests(turns: list[int], wait_s: float = 1.0) -> list[tuple[int, float]]:
    """The rests of a throttle when `turns` of the loop refuse so many requests each.

    A rest is the number of its turn and its length in seconds.
    """
    slept: list[tuple[int, float]] = []
    turn = 0
    throttle = RejectionThrottle(lambda: wait_s, lambda seconds: slept.append((turn, seconds)))
    for turn, refusals in enumerate(turns):  # noqa: B007
        for _ in range(refusals):
            throttle.refused()
        await asyncio.sleep(0)
    return slept


async def test_all_refusals_of_one_turn_share_a_rest() -> None:
    assert await rests([5, 0, 0, 0]) == [(0, LONGEST_S)]


async def test_after_a_rest_one_turn_goes_without() -> None:
    assert [turn for turn, _ in await rests([1] * 9)] == [0, 2, 4, 6, 8]


async def test_a_loop_that_refuses_nothing_never_rests() -> None:
    assert await rests([0, 0, 0]) == []


async def test_a_rest_is_a_small_share_of_the_waiting_time_of_images_and_short() -> None:
    assert await rests([1, 0], wait_s=0.1) == [(0, 0.1 * SHARE)]
    assert await rests([1, 0], wait_s=60.0) == [(0, LONGEST_S)]
    assert await rests([1, 0], wait_s=0.0) == [(0, 0.0)]
