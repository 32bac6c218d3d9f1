"""Refuse requests in groups: under overload the event loop sleeps briefly between refusals.

Every request that arrives takes a core from inference, which has filled the caches with its own
data. Most of the time of a refusal then goes into fetching memory. Requests that arrive while the
loop sleeps are refused together, with warm caches, and interrupt inference only once. Network cards
moderate their interrupts for the same reason.
"""

import asyncio
import time
from collections.abc import Callable

LONGEST_S = 0.02
"""The longest sleep: a refusal should come at once."""
SHARE = 0.05
"""Length of a sleep, as a share of the time that images wait for their answers."""


class RejectionThrottle:
    """Let the event loop sleep once for all refusals of one turn. Use it from that loop."""

    def __init__(
        self, wait_s: Callable[[], float], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`wait_s` returns how long an image that is admitted now would wait for its answer."""
        self._wait_s = wait_s
        self._sleep = sleep
        self._due = False

    def refused(self) -> None:
        """Note a refusal. The loop sleeps at the end of its turn, after it has sent the answers."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        self._sleep(min(LONGEST_S, SHARE * self._wait_s()))
        # Requests that arrived meanwhile are read in this turn and answered in the next one. A
        # sleep between the two would delay each of them twice.
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._due = False
