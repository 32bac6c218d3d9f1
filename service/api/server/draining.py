"""Drain a server before it ends.

After SIGTERM, `/readyz` and new requests are answered with 503 for `QUINCUNX_DRAIN_MS`, so that
load balancers stop sending requests. Then uvicorn closes the port and waits for admitted requests.
"""

import asyncio
import logging
import signal
from types import FrameType

from service.api.server.models import Models

logger = logging.getLogger("quincunx.service")


def drain_on_sigterm(models: Models, drain_ms: int) -> None:
    """Drain on SIGTERM before the present handler runs. Call from the event loop's thread."""
    before = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def end(signum: int, frame: FrameType | None) -> None:
        def finish() -> None:
            if callable(before):
                before(signum, frame)

        def drain() -> None:
            models.close()
            logger.info("draining", extra={"fields": {"drain_ms": drain_ms}})
            loop.call_later(drain_ms / 1000, finish)

        loop.call_soon_threadsafe(drain)

    signal.signal(signal.SIGTERM, end)
