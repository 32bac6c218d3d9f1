"""A fixture for tests of the transport."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from tests.support.wire import Wire, wired


@pytest.fixture(
    params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a body against a server with some settings, on each kind of event loop."""

    def with_settings(body: Callable[[Wire], Coroutine[Any, Any, None]], **settings: Any) -> None:
        async def main() -> None:
            async with wired(**settings) as wire:
                await body(wire)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return with_settings
