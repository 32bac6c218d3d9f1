"""Wait for a state by polling it."""

import asyncio
from collections.abc import Callable

LIMIT_S = 60.0


async def until(true: Callable[[], object]) -> None:
    """Let the event loop run until `true` holds.

    Raises:
        TimeoutError: it does not hold within `LIMIT_S`.
    """
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.001)
