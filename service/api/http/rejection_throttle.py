"""Refusals in bunches: under overload the event loop rests between them.

Every request that arrives takes a core away from inference, and finds caches that inference has
filled with its own: most of a refusal's time goes into fetching memory. Those that come while the
loop rests are refused together, out of warm caches, and inference is interrupted once for all of
them. Network cards moderate their interrupts for the same reason.
"""

import asyncio
import time
from collections.abc import Callable

LONGEST_S = 0.02
"""A refusal should come at once: this is what it may take longer."""
SHARE = 0.05
"""Of what images wait for their answers anyway: where they wait little, so does the loop."""


class RejectionThrottle:
    """Lets the event loop rest once for all refusals of one turn. Use from that loop."""

    def __init__(
        self, wait_s: Callable[[], float], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`wait_s` tells how long an image that was admitted now would wait for its answer."""
        self._wait_s = wait_s
        self._sleep = sleep
        self._due = False

    def refused(self) -> None:
        """Rest when this turn of the loop is over, and its answers are on their way."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        self._sleep(min(LONGEST_S, SHARE * self._wait_s()))
        # Requests that came meanwhile are read in this turn and answered in the next one. A rest
        # that fell between would keep each of them waiting for two.
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._due = False
