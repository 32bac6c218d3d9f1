"""An event loop that wakes within microseconds, for requests that leave when they are due."""

import asyncio
import select
import selectors


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are not rounded up to whole milliseconds, as epoll rounds them.

    Where the system has no epoll, `select` does it, at a cost that grows with the connections.
    """
    selector = PreciseEpoll() if hasattr(selectors, "EpollSelector") else None
    return asyncio.SelectorEventLoop(selector or selectors.SelectSelector())


if hasattr(selectors, "EpollSelector"):

    class PreciseEpoll(selectors.EpollSelector):
        """Epoll, waited for with the precision of `select`, which sees it as one file."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """The files that are ready, after `timeout` seconds at most; None waits for one."""
            select.select([self.fileno()], [], [], None if timeout is None else max(0.0, timeout))
            return super().select(0)
