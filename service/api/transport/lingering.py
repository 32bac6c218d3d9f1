"""A transport that reads on after its last answer."""

import asyncio
from collections.abc import Callable


class Lingering:
    """Stands in for the transport of a request that closes its connection."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close
