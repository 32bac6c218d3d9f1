"""Refusals in bunches: one rest for all of a turn, and no longer than is fair."""

import asyncio

from service.api.moderation import LONGEST_S, SHARE, Moderation


def rests(turns: list[int], wait_s: float) -> list[float]:
    """How long the loop rests where so many requests are refused in each of its turns."""
    slept: list[float] = []

    async def main() -> None:
        moderation = Moderation(lambda: wait_s, slept.append)
        for refusals in turns:
            for _ in range(refusals):
                moderation.refused()
            assert len(slept) < len(turns), "it rests after the turn, not within"
            await asyncio.sleep(0)

    asyncio.run(main())
    return slept


def test_all_refusals_of_one_turn_share_a_rest() -> None:
    assert len(rests([5], wait_s=1.0)) == 1
    assert len(rests([1, 3, 2], wait_s=1.0)) == 3


def test_a_turn_without_refusals_has_none() -> None:
    assert rests([0, 0], wait_s=1.0) == []


def test_it_rests_a_small_share_of_what_images_wait_and_never_long() -> None:
    assert rests([1], wait_s=0.1) == [0.1 * SHARE]
    assert rests([1], wait_s=60.0) == [LONGEST_S]
    assert rests([1], wait_s=0.0) == [0.0]
