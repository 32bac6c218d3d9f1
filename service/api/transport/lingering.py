"""A transport that keeps reading after the last answer."""

import asyncio
from collections.abc import Callable


class Lingering:
    """Replaces the transport of a request that closes its connection."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close
