"""Signs of life of a worker, and of its supervisor."""

import asyncio
import logging
import os
import signal
import time

from service.api.server.shared_memory import Slot

logger = logging.getLogger("quincunx.service")

BEAT_S = 0.5


async def show_life(slot: Slot, supervisor: int | None) -> None:
    """Tell the supervisor that the event loop runs; end with SIGTERM if the supervisor died.

    `supervisor` is its process id; None if this is not a worker of `quincunx serve`.
    """
    while True:
        slot.beat(time.monotonic())
        if supervisor is not None and os.getppid() != supervisor:
            logger.error("the supervisor is gone; this worker ends")
            signal.raise_signal(signal.SIGTERM)
            return
        await asyncio.sleep(BEAT_S)
