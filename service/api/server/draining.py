"""The end of a server: it says so before it is gone.

On SIGTERM `/readyz` and new requests answer 503 while load balancers look away, for as long as the
setting says; then uvicorn closes the port and waits for what was admitted.
"""

import asyncio
import logging
import signal
from types import FrameType

from service.api.server.models import Models

logger = logging.getLogger("quincunx.service")


def drain_on_sigterm(models: Models, drain_ms: int) -> None:
    """Put the drain before whatever SIGTERM does now; call from the event loop's thread."""
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
